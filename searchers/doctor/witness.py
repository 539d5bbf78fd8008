"""What other files than the journal say of a trial: its own folder, the table, and what W&B was told.

All of them are written after the journal, so they can stand in for a line that was lost.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from search_spaces.encode import encode
from search_spaces.knobs import Categorical, Knob, Value
from search_spaces.space import checked_values
from searchers.doctor.description import Description
from searchers.objectives import MEASURED
from searchers.record import DUPLICATE, REFUSED, RUNNING, TRAINED, TrialRecord
from searchers.results import OF_MEMBERS
from searchers.run_folder import trial_folder
from searchers.salvage import records_of_table
from searchers.tracking import ledger
from searchers.tracking.ledger import Told
from seqconv import Architecture, measure, read_architecture
from training.checkpoint import METRICS_FILE

OUTCOMES = (*TRAINED, DUPLICATE, REFUSED)
_OF_THE_END = ("seconds", "waited", "tracked", "reason", "duplicate_of")


@dataclass(frozen=True, kw_only=True)
class Witness:
    """What is known of one trial; empty or None where nothing is."""

    measured: Mapping[str, float] = field(default_factory=dict)
    """What was measured of it."""
    errors: Mapping[int, float] = field(default_factory=dict)
    """Validation error by epoch, as the journal had it."""
    metrics: Mapping[int, float] = field(default_factory=dict)
    """The same from its own folder, which may be an epoch ahead."""
    end: Mapping[str, Any] | None = None
    """Outcome, and what was said of it; None where it was open."""
    started: str | None = None
    """When it was begun."""
    finished: str | None = None
    """When it ended."""
    sources: tuple[str, ...] = ()
    """Files that this is from, relative to the run folder."""


class Witnesses:
    """The trials of a run folder, without its journal.

    Args:
        folder: of the run.
        description: of the search.
    """

    def __init__(self, folder: Path, description: Description) -> None:
        self._folder, self._description = folder, description

    @functools.cached_property
    def numbers(self) -> set[int]:
        """Trials that were begun."""
        names = [path.name for path in (self._folder / "trials").glob("*")]
        folders = [int(name) for name in names if name.isdecimal()]
        known = self._table.keys() | self._told.keys()
        return known | {n for n in folders if n not in known and self._architecture(n) is not None}

    def of(self, number: int) -> Witness:
        """What is known of a trial."""
        row, told, where = self._table.get(number), self._told.get(number), trial_folder(self._folder, number)
        known = {"wandb/trials.jsonl": told, self._table_name: row, f"trials/{where.name}": where.is_dir()}
        facts = dict(row.facts) if row else {}
        summary = dict(told.summary or {}) if told else {}
        return Witness(
            measured={n: x for n in MEASURED if (x := facts.get(n, summary.get(n))) is not None},
            errors={**_errors_told(told), **(row.errors if row else {})},
            metrics=metrics(where / METRICS_FILE) or {},
            end=_end(row.outcome, facts) if row and row.outcome in OUTCOMES else _end(summary.get("outcome"), summary),
            started=facts.get("started"),
            finished=facts.get("finished"),
            sources=tuple(name for name, what in known.items() if what),
        )

    @functools.cached_property
    def _table(self) -> dict[int, TrialRecord]:
        return {record.number: record for record in self._rows[0]}

    @property
    def _table_name(self) -> str:
        return self._rows[1]

    @functools.cached_property
    def _rows(self) -> tuple[list[TrialRecord], str]:
        try:
            return records_of_table(self._folder, [])
        except ValueError:
            return [], "trials.parquet"

    @functools.cached_property
    def _told(self) -> dict[int, Told]:
        told: dict[int, Told] = {}
        for event in ledger.Reader(self._folder / "wandb" / "trials.jsonl").read():
            with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # a damaged line
                ledger.take(told, [event])
        return {number: of for number, of in told.items() if type(number) is int and number >= 0}

    def _architecture(self, number: int) -> Architecture | None:
        try:
            return read_architecture(trial_folder(self._folder, number) / "architecture.yaml")
        except (OSError, ValueError):
            return None

    def values(self, number: int) -> dict[str, Value] | None:
        """Knob values: the first ones that the space has, and that make the architecture in the trial's folder."""
        space, architecture = self._description.space, self._architecture(number)
        if space is None:
            return None
        for found in self._candidates(number, space.knobs):
            try:
                values = checked_values(space.knobs, found)
                if architecture is None or space.decode(values).fingerprint() == architecture.fingerprint():
                    return values
            except ValueError:
                continue
        try:
            return None if architecture is None else encode(space, architecture)
        except ValueError:
            return None

    def _candidates(self, number: int, knobs: tuple[Knob, ...]) -> Iterator[dict[str, Any]]:
        if (told := self._told.get(number)) is not None:
            yield {knob.name: told.config[knob.name] for knob in knobs if knob.name in told.config}
        if (row := self._table.get(number)) is not None:
            yield {knob.name: _typed(knob, row.values[knob.name]) for knob in knobs if knob.name in row.values}

    def facts(self, number: int, values: Mapping[str, Value]) -> dict[str, Any]:
        """Its architecture, cost and data, as a search notes them; nothing where its values make no architecture."""
        architecture, space = self._architecture(number), self._description.space
        if architecture is None and space is not None:
            try:
                architecture = space.decode(values)
            except ValueError:  # refused for that
                return {}
        about = self._description.dataset
        if architecture is None or not {"name", "resolution", "classes"} <= about.keys():
            return {}
        cost = measure(architecture, resolution=about["resolution"], classes=about["classes"])
        plain = {"fingerprint": architecture.fingerprint(), "architecture": architecture.to_dict()}
        row = self._table.get(number)
        of_member = {name: row.facts[name] for name in ("recipe", *OF_MEMBERS) if name in row.facts} if row else {}
        return {**plain, **asdict(cost), "dataset": about["name"], **of_member}


def metrics(file: Path, begun: int | None = None) -> dict[int, float] | None:
    """Validation error by epoch in a metrics.csv, where every row of it can be read; None otherwise.

    Args:
        file: the table.
        begun: the epoch before its first one; None where that is not known.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines, strict=True))
            found = {int(row["epoch"]): float(row["validation_error"]) for row in rows}
            whole = all(None not in row and None not in row.values() for row in rows)
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    first = min(found, default=1) if begun is None else begun + 1
    return found if rows and whole and sorted(found) == list(range(first, first + len(rows))) else None


def _errors_told(told: Told | None) -> dict[int, float]:
    rows = told.rows if told else {}
    return {epoch: row["validation_error"] for epoch, row in rows.items() if _is_error(row.get("validation_error"))}


def _is_error(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _end(outcome: Any, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """As the store says it."""
    if outcome not in OUTCOMES or outcome == RUNNING:
        return None
    known = {name: facts[name] for name in _OF_THE_END if facts.get(name) is not None}
    return {**known, "outcome": outcome}


def _typed(knob: Knob, value: Any) -> Any:
    """A cell of a table, which has one type in all of its rows, as the knob has it."""
    if isinstance(knob, Categorical):
        return next((choice for choice in knob.choices if str(choice) == str(value)), value)
    return int(value) if isinstance(value, float) and knob.kind == "integer" and value.is_integer() else value
