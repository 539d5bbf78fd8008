"""Progress of a search as lines of text, for logs and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable

from searchers.record import FAILED, PRUNED, REFUSED, TrialRecord
from searchers.tally import Tally

QUIET = 300.0
"""Seconds without a line after which a log is told of an epoch, so that nobody takes the search for dead."""


class LineProgress:
    """A line for each trial that was begun and ended, and one now and then where that takes long.

    Args:
        tally: of the search.
        say: where a line goes.
    """

    def __init__(self, tally: Tally, say: Callable[[str], None]) -> None:
        self._tally, self._print = tally, say
        self._last = time.monotonic()

    def begin(self, record: TrialRecord) -> None:
        self._tally.begin(record)

    def epoch(self, record: TrialRecord) -> None:
        self._tally.epoch(record)
        if time.monotonic() - self._last >= QUIET:
            self._say_how_far(record)

    def rest(self, record: TrialRecord) -> None:
        self._tally.rest(record)

    def end(self, record: TrialRecord) -> None:
        if self._tally.end(record):
            self._say_how_far(record)

    def note(self, line: str) -> None:
        self._last = time.monotonic()
        self._print(line)

    def close(self) -> None: ...

    def _say_how_far(self, record: TrialRecord) -> None:
        best, left = self._tally.best, self._tally.left
        done = f"{self._tally.trained}/{self._tally.trials}, {self._tally.outcomes.get(PRUNED, 0)} pruned"
        of_best = "" if best is None else f", best {best.error:.4f}"
        self.note(f"{trial_line(record)}  [{done}{of_best}{f', {duration(left)} to go' if left and left >= 1 else ''}]")


def trial_line(record: TrialRecord) -> str:
    """One trial that was begun: what it came to, or why to nothing."""
    error = "" if record.error is None else f" error {record.error:.4f} after {record.epochs} epochs"
    detail = f" {record.short_reason}" if record.outcome in (FAILED, REFUSED) else f" {record.facts['params']:,} params"
    return f"trial {record.number:>4} {record.outcome:<9}{error}{detail}"


def duration(seconds: float) -> str:
    """A length of time as coarse as one says it: 45 s, 12 min, 3 h 05 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
