"""What these searchers ask of a history at every proposal, kept so that the answer does not take longer as it grows."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Generic, TypeVar

from searchers.history import History
from searchers.record import COMPLETED, PRUNED, RUNNING, TrialRecord


class Trials:
    """A summary of a history, trial by trial.

    Args:
        objectives: what a trial needs to have a finite value of, to be compared.
    """

    def __init__(self, objectives: tuple[str, ...]) -> None:
        self.tried: set[str] = set()
        """Fingerprints that it would be in vain to propose: known, being trained, or failed."""
        self.results: list[int] = []
        """Numbers of the trials that can be compared, in order."""
        self._objectives = objectives
        self._running: set[int] = set()

    @property
    def started(self) -> int:
        """Trials that have a result to compare, or may still have one."""
        return len(self._running) + len(self.results)

    def see(self, record: TrialRecord) -> None:
        """A trial is there, or something has become of it; to be told twice does no harm."""
        if record.fingerprint is not None and record.settled:
            self.tried.add(record.fingerprint)
        if record.outcome == RUNNING:
            self._running.add(record.number)
            return
        self._running.discard(record.number)
        if record.outcome in (COMPLETED, PRUNED) and all(math.isfinite(x) for x in vector(record, self._objectives)):
            place = bisect.bisect_left(self.results, record.number)
            if self.results[place : place + 1] != [record.number]:
                self.results.insert(place, record.number)
                self._compare(record)

    def _compare(self, record: TrialRecord) -> None:
        """A result is there. For summaries that keep an order of them."""


T = TypeVar("T", bound=Trials)


class Following(Generic[T]):
    """The summary of the history that is asked about, in step with it; begun anew for another history.

    Args:
        begin: makes an empty summary.
    """

    def __init__(self, begin: Callable[[], T]) -> None:
        self._begin = begin
        self._history: History | None = None

    def __call__(self, history: History) -> T:
        if history is not self._history:
            self._history, self._position, self._trials = history, 0, self._begin()
        changed, self._position = history.since(self._position)
        for number in changed:
            self._trials.see(history[number])
        return self._trials


def vector(record: TrialRecord, objectives: tuple[str, ...]) -> list[float]:
    """The objectives of a trial; not a number where one is missing."""
    measures = record.measures()
    return [measures.get(name, math.nan) for name in objectives]
