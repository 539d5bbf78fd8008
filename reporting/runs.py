"""What a report knows of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from searchers import objectives
from searchers.record import COMPLETED, PRUNED, RUNNING, TrialRecord
from seqconv import Architecture

GOING, STOPPED, ENDED = "still running", "stopped before its end", "ended"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial, with what its own folder says."""

    record: TrialRecord
    """As the store has it."""
    architecture: Architecture | None
    """None where its knob values made none, or what was noted cannot be read."""
    metrics: Sequence[Mapping[str, float]]
    """A mapping for each epoch, from the columns of its metrics.csv; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One search."""

    index: int
    """Position among the runs of the report: its colour."""
    name: str
    """Of its folder, longer where another run has the same."""
    path: Path
    """Its folder."""
    state: str
    """still running, stopped before its end, or ended."""
    trials: Sequence[Trial]
    """By number."""
    description: Mapping[str, Any]
    """What makes the search this one: space, data, recipe, seed. Empty where it cannot be read."""
    settings: Mapping[str, Any]
    """Its configuration. Empty where it cannot be read."""
    environment: Mapping[str, Any]
    """Where it ran. Empty where it cannot be read."""
    problems: Sequence[str]
    """What could not be read, and why."""

    @property
    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return [trial.record for trial in self.trials]

    @property
    def trained(self) -> list[Trial]:
        """Trials that have a result and did not fail; without duplicates, which repeat another's."""
        known = (trial for trial in self.trials if math.isfinite(_error(trial.record)))
        return [trial for trial in known if trial.record.outcome in (COMPLETED, PRUNED, RUNNING)]

    @property
    def objectives(self) -> tuple[str, ...]:
        """What it minimised."""
        try:
            return objectives.check(self.description.get("objective", objectives.ERROR))
        except ValueError:
            return (objectives.ERROR,)


def moment(record: TrialRecord, what: str) -> datetime | None:
    """When a trial was started or finished; None where that is not known, or cannot be read."""
    text = record.facts.get(what)
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _error(record: TrialRecord) -> float:
    return math.nan if record.error is None else record.error
