"""Signals that end a process wait until a step is done, so that what is saved then is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """Inside, the first SIGINT or SIGTERM waits for `deliver` or the end; a second one acts at once.

    In threads other than the main one, where Python delivers no signals, nothing is held. Nor are ignored signals.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        """The signal that waits."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._hold)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self.pending is not None and kind is None:
            number, self.pending = self.pending, None
            signal.raise_signal(number)

    def deliver(self) -> None:
        """Let the signal that waits, if one does, do what it does outside; return where its handler returns."""
        if self.pending is not None:
            number, self.pending = self.pending, None
            self._act(number)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self.pending is None:
            self.pending = number
        else:
            self.pending = None
            self._act(number)

    def _act(self, number: int) -> None:
        signal.signal(number, self._before[number])
        signal.raise_signal(number)
        signal.signal(number, self._hold)
