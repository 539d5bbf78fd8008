"""Reads whatever there is of a search, also while it runs or after a crash; what is damaged is named and left out."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reporting.runs import ENDED, GOING, STOPPED, Run, Trial
from searchers.owned_folder import in_use
from searchers.record import RUNNING, TrialRecord
from searchers.run_folder import RUN_FILE, read_run, trial_folder
from searchers.salvage import records_of_table
from searchers.study import JOURNAL, read_records
from seqconv import Architecture, validation
from seqconv.serialization import read_yaml

T = TypeVar("T")
METRICS_FILE = "metrics.csv"


def read_runs(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs that can be read, and what there is to say of the others.

    Raises:
        ValueError: none of them can be read.
    """
    runs: list[Run] = []
    refused: list[str] = []
    for folder, name in zip(folders, _names(folders), strict=True):
        try:
            runs.append(_read(folder, name, len(runs)))
        except ValueError as error:
            refused.append(str(error))
    if not runs:
        raise ValueError("; ".join(refused))
    return runs, refused


def _read(folder: Path, name: str, index: int) -> Run:
    if not folder.is_dir():
        near = validation.did_you_mean(folder.name, [path.parent.name for path in folder.parent.glob(f"*/{JOURNAL}")])
        raise ValueError(f"run={folder}: no such folder{near}; run= takes the folder of a search, such as runs/NAME")
    problems: list[str] = []
    records = [record for record in _records(folder, problems) if _is_whole(record, problems)]
    return Run(
        index=index,
        name=name,
        path=folder,
        state=_state(folder, records),
        trials=[_trial(folder, record, problems) for record in records],
        description=_attempt(problems, RUN_FILE, lambda: _mapping(read_run(folder)), {}),
        settings=_attempt(problems, "config.yaml", lambda: _mapping(read_yaml(folder / "config.yaml")), {}),
        environment=_attempt(
            problems, "environment.yaml", lambda: _mapping(read_yaml(folder / "environment.yaml")), {}
        ),
        problems=problems,
    )


def _is_whole(record: TrialRecord, problems: list[str]) -> bool:
    """Whether its numbers are numbers, which a damaged store may have lost."""
    try:
        record.measures()
        return all(isinstance(error, (int, float)) for error in record.errors.values())
    except (TypeError, ValueError) as error:
        problems.append(f"trial {record.number}: {error}")
        return False


def _attempt(problems: list[str], what: str, read: Callable[[], T], otherwise: T) -> T:
    """The result, or what stands for it where something is damaged, which may show as any exception."""
    try:
        return read()
    except Exception as error:
        problems.append(f"{what}: {_first_line(error)}")
        return otherwise


def _trial(folder: Path, record: TrialRecord, problems: list[str]) -> Trial:
    def architecture() -> Architecture | None:
        plan = record.facts.get("architecture")
        return None if plan is None else Architecture.from_dict(plan)

    def metrics() -> Sequence[Mapping[str, float]]:
        return _metrics(trial_folder(folder, record.number) / METRICS_FILE)

    where = f"trials/{record.number:04d}/{METRICS_FILE}"
    return Trial(
        record=record,
        architecture=_attempt(problems, f"trial {record.number}", architecture, None),
        metrics=_attempt(problems, where, metrics, ()),
    )


def _records(folder: Path, problems: list[str]) -> list[TrialRecord]:
    """The trials of the store; of the table that was last made from it where the store is damaged."""
    if not (folder / JOURNAL).is_file():
        return read_records(folder)  # which says what is missing
    try:
        return read_records(folder)
    except Exception as error:
        reason = f"{JOURNAL}: {_first_line(error)}"
    try:
        records, table = records_of_table(folder, problems)
    except ValueError as error:
        raise ValueError(f"run={folder}: {reason}, and there is no table in its place: {error}") from None
    problems.append(f"{reason}. What is shown comes from {table}, without what was begun since")
    return records


def _metrics(file: Path) -> list[dict[str, float]]:
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(lines)]
    if any("epoch" not in row for row in rows):
        raise ValueError("no column epoch")
    return rows


def _number(text: str | None) -> float:
    """NaN for what is empty; raises ValueError for what is no number, and TypeError for a row of too many cells."""
    return math.nan if text in ("", None) else float(text)


def _mapping(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise ValueError(f"must be a mapping, got {type(data).__name__}")
    return data


def _state(folder: Path, records: Sequence[TrialRecord]) -> str:
    if in_use(folder):
        return GOING
    return STOPPED if any(record.outcome == RUNNING for record in records) else ENDED


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of each path, as few as tell it from the others."""
    parts = [folder.resolve().parts for folder in folders]
    names = []
    for own in parts:
        others = [other for other in parts if other != own]
        depth = next(n for n in range(1, len(own) + 1) if all(other[-n:] != own[-n:] for other in others))
        names.append("/".join(own[-depth:]).removeprefix("//"))
    return names


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
