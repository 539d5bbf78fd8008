"""The trials of a run whose store is damaged, from the table that was last made of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchers.record import RUNNING, TrialRecord
from searchers.results import OF_MEMBERS
from searchers.run_folder import trial_folder
from seqconv import read_architecture

if TYPE_CHECKING:
    from pandas import DataFrame

_KNOB, _RECIPE = "knob.", "recipe."
_OWN = ("trial", "outcome", "error", "epochs", "errors", "architecture")
"""Columns that a record has in other words."""


def records_of_table(folder: Path, problems: list[str]) -> tuple[list[TrialRecord], str]:
    """The trials, and the name of the file they are from.

    Args:
        folder: of the run.
        problems: what cannot be read of single trials is added to it.

    Raises:
        ValueError: no table that can be read.
    """
    import pandas as pd

    reasons = []
    for name, read in (("trials.parquet", pd.read_parquet), ("trials.csv", pd.read_csv)):
        try:
            return _records(read(folder / name), folder, problems), name
        except Exception as error:  # what is raised depends on what the file holds instead
            lines = str(error).splitlines()
            reasons.append(f"{name}: {lines[0] if lines else type(error).__name__}")
    raise ValueError("; ".join(reasons))


def _records(frame: DataFrame, folder: Path, problems: list[str]) -> list[TrialRecord]:
    rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    records = [record for row in rows if (record := _record(row, problems)) is not None]
    return [_with_architecture(record, trial_folder(folder, record.number), problems) for record in records]


def _with_architecture(record: TrialRecord, folder: Path, problems: list[str]) -> TrialRecord:
    """The table has only the description of it; the trial's own file has it whole, where it was begun."""
    file = folder / "architecture.yaml"
    if not file.is_file():
        return record
    try:
        return replace(record, facts={**record.facts, "architecture": read_architecture(file).to_dict()})
    except ValueError as error:
        problems.append(str(error).splitlines()[0])
        return record


def _record(row: dict[str, Any], problems: list[str]) -> TrialRecord | None:
    """None for a row that is damaged, which is named."""
    try:
        return _parsed({key: value for key, value in row.items() if not _missing(value)})
    except (KeyError, TypeError, ValueError) as error:
        problems.append(f"row of trial {row.get('trial')} in the table: {type(error).__name__} {error}")
        return None


def _parsed(row: dict[str, Any]) -> TrialRecord:
    number = int(row["trial"])
    facts = {key: value for key, value in row.items() if key not in _OWN and not key.startswith((_KNOB, _RECIPE))}
    if recipe := {key.removeprefix(_RECIPE): value for key, value in row.items() if key.startswith(_RECIPE)}:
        facts |= {"recipe": recipe, **{name: int(row[name]) for name in OF_MEMBERS if name in row}}
    return TrialRecord(
        number=number,
        outcome=row.get("outcome", RUNNING),
        values={key.removeprefix(_KNOB): value for key, value in row.items() if key.startswith(_KNOB)},
        errors={int(epoch): math.nan if error is None else error for epoch, error in json.loads(row["errors"]).items()},
        facts=facts,
    )


def _missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))
