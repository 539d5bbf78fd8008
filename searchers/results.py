"""What a search found, as files and as a table: made anew from the store each time."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchers.objectives import MEASURED
from searchers.population import schedule
from searchers.record import RUNNING, TrialRecord, best_first, front
from searchers.run_folder import RunFolder, trial_folder
from seqconv import Architecture, write_architecture
from seqconv.files import remove_leftovers, write_atomically
from seqconv.serialization import to_yaml

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = {
    "trial": "Int64",
    "outcome": "str",
    "dataset": "str",
    "error": "float64",
    "epochs": "Int64",
    "fingerprint": "str",
    "params": "Int64",
    "macs": "Int64",
    "paper_flops": "Int64",
    "activation_bytes": "Int64",
    "serial_depth": "Int64",
    "unread_groups": "Int64",
    "latency": "float64",
    "energy": "float64",
    "seconds": "float64",
    "duplicate_of": "Int64",
    "started": "str",
    "finished": "str",
    "reason": "str",
    "violations": "str",
    "errors": "str",
    "architecture": "str",
}
"""Columns that every table has, with their types; the knobs follow."""
OF_MEMBERS = {"parent": "Int64", "begun": "Int64", "replaces": "Int64"}
"""Columns of a population, whose recipes follow as `recipe.<setting>`."""
_COSTS = ("params", "macs", "paper_flops", "activation_bytes", "serial_depth", "unread_groups")
_OF_THE_BEST = ("dataset", "fingerprint", *_COSTS, *MEASURED, "seconds", "violations")


def to_frame(records: Sequence[TrialRecord]) -> DataFrame:
    """One row a trial: outcome, error, cost, knobs as `knob.<name>`, errors by epoch as JSON, reason."""
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for number, record in enumerate(records):
        row = _row(record)  # not kept: of a long search the rows would take far more memory than the columns
        for name in row:
            columns.setdefault(name, [None] * number)
        for name, values in columns.items():
            values.append(row.get(name))
    return pd.DataFrame({name: pd.Series(values, dtype=_dtype(name, values)) for name, values in columns.items()})


def write_tables(folder: RunFolder, records: Sequence[TrialRecord]) -> None:
    """trials.csv and trials.parquet, each replaced whole."""
    frame = to_frame(records)
    write_atomically(folder.path / "trials.csv", frame.to_csv(index=False))
    write_atomically(folder.path / "trials.parquet", frame.to_parquet(index=False))


def write_best(folder: RunFolder, records: list[TrialRecord]) -> TrialRecord | None:
    """best/: the architecture of the best trial and what it reached; None where nothing was trained."""
    ranked = best_first(records)
    if not ranked:
        return None
    _write_result(folder.path / "best", ranked[0], records)
    return ranked[0]


def write_front(folder: RunFolder, records: list[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """pareto/NNNN/: the same of each trial of the Pareto front; trials that have left the front are removed."""
    found = front(records, objectives)
    names = {trial_folder(folder.path, record.number).name: record for record in found}
    for old in (folder.path / "pareto").glob("*"):
        if old.name not in names:
            shutil.rmtree(old)
    for name, record in names.items():
        _write_result(folder.path / "pareto" / name, record, records)
    return found


def _write_result(target: Path, record: TrialRecord, records: Sequence[TrialRecord]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    write_architecture(Architecture.from_dict(record.facts["architecture"]), target / "architecture.yaml")
    result = {"trial": record.number, "error": record.error, "epochs": record.epochs, "outcome": record.outcome}
    known = {name: record.facts[name] for name in _OF_THE_BEST if name in record.facts}
    known |= {} if record.recipe is None else {"recipe": schedule(records, record.number)}
    write_atomically(target / "result.yaml", to_yaml(result | known))


def prune_weights(folder: RunFolder, records: list[TrialRecord], keep: int, objectives: Sequence[str]) -> None:
    """Delete the weights and checkpoints of ended trials beyond the best `keep` and a Pareto front."""
    best = best_first(records)[:keep]
    kept = {record.number for record in (*best, *(front(records, objectives) if len(objectives) > 1 else ()))}
    for record in records:
        if record.number not in kept and record.outcome != RUNNING:
            for name in ("model.pt", "checkpoint.pt"):
                (folder.trial(record.number) / name).unlink(missing_ok=True)


class NowAndThen:
    """Does something every so many seconds, and less often where it takes more than a twentieth of the time."""

    def __init__(self, every: float = 15.0) -> None:
        self._every, self._due = every, time.monotonic() + every

    def __call__(self, do: Callable[[], None]) -> None:
        """Do it, where it is due."""
        began = time.monotonic()
        if began < self._due:
            return
        do()
        ended = time.monotonic()
        self._due = max(began + self._every, ended + 19 * (ended - began))


def _row(record: TrialRecord) -> dict[str, Any]:
    plan = record.facts.get("architecture")
    row = {name: record.facts.get(name) for name in _COLUMNS}
    row |= {"trial": record.number, "outcome": record.outcome, "error": record.error, "epochs": record.epochs}
    errors = {epoch: error if math.isfinite(error) else None for epoch, error in record.errors.items()}
    row["errors"] = json.dumps(errors)
    row["violations"] = json.dumps(record.facts["violations"]) if "violations" in record.facts else None
    row["architecture"] = None if plan is None else Architecture.from_dict(plan).describe()
    if record.recipe is not None:
        row |= {name: record.facts.get(name) for name in OF_MEMBERS}
        row |= {f"recipe.{name}": value for name, value in record.recipe.items()}
    row |= {"where": record.where} if record.where else {}
    return row | {f"knob.{name}": value for name, value in record.values.items()}


def _dtype(name: str, values: Sequence[Any]) -> Any:
    """The type of a column; text where values of a knob have several, such as the windows 4 and dense."""
    kinds = {type(value) for value in values if value is not None}
    of_knob = {frozenset({int}): "Int64", frozenset({bool}): "boolean"}.get(frozenset(kinds))
    return _COLUMNS.get(name) or OF_MEMBERS.get(name) or of_knob or ("float64" if kinds <= {int, float} else "str")
