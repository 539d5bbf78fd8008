"""Where a search stands: counts, the best so far, and how long it still takes. Nothing is printed here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from searchers.eta import survival, work_left
from searchers.record import RUNNING, TRAINED, TrialRecord, best_first, front


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial in training."""

    record: TrialRecord
    """As of its last epoch."""
    since: float
    """When its training began here, on the monotonic clock."""
    reported: float
    """When its last epoch was reported, or else its training began."""

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.since

    def left(self, expected: float) -> float:
        """Seconds that are left of those that were expected of it when it reported its last epoch."""
        return max(0.0, expected - (time.monotonic() - self.reported))


class Tally:
    """Told of the trials of a search, it says where the search stands at any moment.

    Args:
        trials: to train in all.
        epochs: of a trial that nothing stops.
        concurrency: trials at a time.
        history: the trials that ended before this process began; open ones are begun again.
        objectives: what is minimised.
        costs: what each epoch of a trial costs against the others; equal ones where none are given.
    """

    def __init__(
        self,
        *,
        trials: int,
        epochs: int,
        concurrency: int,
        history: Iterable[TrialRecord],
        objectives: tuple[str, ...],
        costs: Sequence[float] = (),
    ) -> None:
        self._costs = costs or [1.0] * epochs
        self.trials, self.epochs, self.objectives = trials, epochs, objectives
        self._concurrency = concurrency
        self._outcomes: Counter[str] = Counter()
        self._trained = 0
        self._ended_after: Counter[int] = Counter()
        self._work_ended, self._seconds_ended = 0.0, 0.0
        self._best: list[TrialRecord] = []
        self._front: list[TrialRecord] = []
        self._running: dict[int, Running] = {}
        self._resting: dict[int, TrialRecord] = {}
        for record in history:
            if record.outcome != RUNNING:
                self._add(record)
        self._trained_before = self.trained
        self._opened = time.monotonic()

    def begin(self, record: TrialRecord) -> None:
        """Training of a trial starts, or goes on."""
        at = time.monotonic()
        self._resting.pop(record.number, None)
        self._running[record.number] = Running(record=record, since=at, reported=at)

    def epoch(self, record: TrialRecord) -> None:
        """A running trial reported an epoch."""
        since = self._running[record.number].since
        self._running[record.number] = Running(record=record, since=since, reported=time.monotonic())

    def rest(self, record: TrialRecord) -> None:
        """A running trial waits for others; it begins again."""
        del self._running[record.number]
        self._resting[record.number] = record

    def end(self, record: TrialRecord) -> bool:
        """A trial ended; returns whether it had begun, as duplicates and most refused ones never do."""
        self._add(record)
        running, resting = (of.pop(record.number, None) for of in (self._running, self._resting))
        return running is not None or resting is not None

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many trials ended how."""
        return self._outcomes

    @property
    def running(self) -> list[Running]:
        """The trials in training, the first begun first."""
        return list(self._running.values())

    @property
    def trained(self) -> int:
        """Trials that count towards those asked for."""
        return self._trained

    @property
    def best(self) -> TrialRecord | None:
        """The trial that came furthest, of the lowest error among those; None before one has a result."""
        return self._best[0] if self._best else None

    @property
    def front(self) -> int:
        """Trials on the Pareto front of the objectives."""
        return len(self._front)

    @property
    def elapsed(self) -> float:
        """Seconds since this process began."""
        return time.monotonic() - self._opened

    @property
    def per_hour(self) -> float | None:
        """Trials trained an hour, in this process; None before the first one ended."""
        trained = self.trained - self._trained_before
        return 3600 * trained / max(self.elapsed, 1e-9) if trained else None

    @property
    def left(self) -> float | None:
        """Seconds until the search is done, if it goes on like so far; None before a trial ended with a result."""
        if not self._work_ended:
            return None
        seconds = [cost * self._seconds_ended / self._work_ended for cost in self._costs]
        running, resting = self._running.values(), [record.epochs for record in self._resting.values()]
        done = [of.record.epochs for of in running]
        shares = survival(self._ended_after, done, self.epochs)
        expected = {epochs: work_left(shares, seconds, epochs) for epochs in {*done, *resting}}
        begun = [*(of.left(expected[of.record.epochs]) for of in running), *(expected[epochs] for epochs in resting)]
        to_begin = max(0, self.trials - self.trained - len(begun))
        of_each = work_left(shares, seconds, None) if to_begin else 0.0
        # The last trials do not fill all places: the longest of them takes as long as it takes.
        return max((sum(begun) + of_each * to_begin) / self._concurrency, of_each, *begun)

    def _add(self, record: TrialRecord) -> None:
        self._outcomes[record.outcome] += 1
        if record.outcome not in TRAINED:
            return
        self._trained += record.counts
        self._ended_after[record.epochs] += record.counts  # what another trial goes on for has not ended
        if (seconds := record.facts.get("seconds")) is not None:
            self._work_ended += sum(self._costs[record.begun : record.epochs])
            self._seconds_ended += seconds
        self._best = best_first([*self._best, record])[:1]
        self._front = front([*self._front, record], self.objectives)
