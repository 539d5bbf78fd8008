"""How a command is interrupted: by Ctrl-C, and by SIGTERM alike, as a cluster sends it before it kills."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

INTERRUPTED = 130
"""Exit code of a command that was interrupted."""


@contextlib.contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """Inside, SIGTERM does what Ctrl-C does, also in a job in the background of a shell, where Ctrl-C does nothing.

    Afterwards all handlers are those of before: Ray Tune leaves its own behind, which swallow the next Ctrl-C.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGINT)
