"""What a tracker is told of a trial, and how much of the trial's time that takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from searchers.objectives import MEASURED
from searchers.record import PRUNED, TrialRecord
from searchers.tracking.tracker import Tracker
from seqconv import Complexity

_ABOUT = ("fingerprint", *(field.name for field in fields(Complexity)))


class Telling:
    """Tells a tracker of the trials of a search.

    Args:
        tracker: what is told.
        rungs: epochs after which a scheduler may stop a trial.
    """

    def __init__(self, tracker: Tracker, rungs: Sequence[int]) -> None:
        self._tracker, self._rungs = tracker, rungs
        self._spent: dict[int, float] = {}

    def start(self, record: TrialRecord) -> None:
        """A trial begins."""
        recipe = {f"recipe.{name}": value for name, value in (record.recipe or {}).items()}
        self._tell(record.number, self._tracker.start, {**record.values, **recipe, **_facts(record, _ABOUT)})

    def log(self, number: int, metrics: Mapping[str, Any]) -> None:
        """It finished an epoch."""
        self._tell(number, self._tracker.log, metrics)

    def finish(self, record: TrialRecord) -> None:
        """It ended. One that was stopped early was so at a rung, from 0."""
        known = {"outcome": record.outcome, "error": record.error, "epochs": record.epochs,
                 "reason": record.short_reason, "best_error": min(record.errors.values(), default=None)}  # fmt: skip
        if record.epochs in self._rungs and record.outcome == PRUNED:
            known["rung"] = self._rungs.index(record.epochs)
        self._tracker.finish(record.number, {**known, **_facts(record, ("seconds", "duplicate_of", *MEASURED))})

    def spent(self, number: int) -> float:
        """Seconds that telling of a trial has taken so far; they are counted anew from here."""
        return self._spent.pop(number, 0.0)

    def _tell(self, number: int, tell: Callable[[int, Mapping[str, Any]], None], told: Mapping[str, Any]) -> None:
        begin = time.perf_counter()
        tell(number, told)
        self._spent[number] = self._spent.get(number, 0.0) + time.perf_counter() - begin


def _facts(record: TrialRecord, names: Sequence[str]) -> dict[str, Any]:
    return {name: record.facts.get(name) for name in names}
