"""Where the time of a training goes: while the watch runs, every moment counts for exactly one part."""

from __future__ import annotations

import time


class Stopwatch:
    """Runs from a first `switch` to `stop`, so that the seconds of its parts add up to all of that time.

    Args:
        parts: their names.
    """

    def __init__(self, *parts: str) -> None:
        self._parts = parts
        self._seconds = dict.fromkeys(parts, 0.0)
        self._part: str | None = None
        self._since = 0.0

    def switch(self, part: str) -> None:
        """From here on the time counts for `part`."""
        self._count()
        self._part = part

    def stop(self) -> dict[str, float]:
        """Seconds of each part, in the order of the parts; the next `switch` begins anew at zero."""
        self._count()
        seconds, self._seconds = self._seconds, dict.fromkeys(self._parts, 0.0)
        self._part = None
        return seconds

    def _count(self) -> None:
        at = time.perf_counter()
        if self._part is not None:
            self._seconds[self._part] += at - self._since
        self._since = at
