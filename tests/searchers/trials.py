"""Records of trials that nobody trained, and a clock that stands still, for what shows a search."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from searchers.record import COMPLETED, RUNNING, TrialRecord
from searchers.tally import Tally
from seqconv import Architecture, Stage

ARCHITECTURE = Architecture(stages=(Stage(blocks=2, group_width=8),), pyramid=(2,))


def trial(number: int, outcome: str = COMPLETED, *errors: float, **facts: Any) -> TrialRecord:
    """A trial with an error for each epoch that took ten seconds an epoch."""
    known = {"architecture": ARCHITECTURE.to_dict(), "params": 1_234_567, "macs": 22_000_000, "serial_depth": 41}
    seconds = {} if outcome == RUNNING else {"seconds": 10.0 * len(errors)}
    by_epoch = dict(enumerate(errors, start=1))
    return TrialRecord(number=number, outcome=outcome, values={}, errors=by_epoch, facts=known | seconds | facts)


def tally(
    history: Iterable[TrialRecord] = (),
    *,
    trials: int = 8,
    epochs: int = 4,
    concurrency: int = 2,
    objectives: tuple[str, ...] = ("error",),
    costs: Sequence[float] = (),
) -> Tally:
    return Tally(
        trials=trials, epochs=epochs, concurrency=concurrency, history=history, objectives=objectives, costs=costs
    )


class Clock:
    """The monotonic clock, which runs only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
