"""Ends the process of a trial that hangs or takes too much memory, so that it costs the search this trial alone.

Nothing less would do: what hangs in compiled code hears no exception, and what has been allocated is not given back.
A note in the trial's folder tells why, because the process itself cannot any more.
"""

from __future__ import annotations

import faulthandler
import os
import re
import resource
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

from seqconv import validation

NOTE = "ended.txt"
"""In the trial's folder."""
_EVERY = 0.2
"""Seconds between two looks at the memory."""
_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of what the system counts memory in."""
_HUNG = re.compile(r"Timeout \((\d+):(\d+):([\d.]+)\)!")
"""How what `faulthandler` writes begins."""
Step = TypeVar("Step")


@dataclass(frozen=True, kw_only=True)
class TrialLimits:
    """What the process of a trial may take.

    Raises:
        ValueError: a limit that is not above 0, naming it.
    """

    timeout: float | None = None
    """Seconds between two epochs, or from the start to the first; null is no limit."""
    memory: float | None = None
    """Resident memory in GB, what is shared with other processes included; null is no limit."""

    def __post_init__(self) -> None:
        for name in ("timeout", "memory"):
            if getattr(self, name) is not None:
                validation.number(f"trial_limits.{name}", getattr(self, name), low=0, open_low=True)


def watched(steps: Iterator[Step], folder: Path, limits: TrialLimits) -> Iterator[Step]:
    """The same steps; while one is computed, this process ends where a limit is broken.

    Args:
        steps: of the trial.
        folder: of the trial.
        limits: what it may take.
    """
    if limits == TrialLimits():
        yield from steps
        return
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / NOTE
    done = threading.Event()
    try:
        with note.open("w", encoding="utf-8") as file:
            if limits.memory is not None:
                threading.Thread(target=_watch_memory, args=(limits.memory, file, done), daemon=True).start()
            yield from _timed(steps, limits.timeout, file)
    finally:
        done.set()
        note.unlink(missing_ok=True)


def verdict(folder: Path) -> str | None:
    """Why the process of a trial was ended; None where it was not."""
    note = folder / NOTE
    text = note.read_text(encoding="utf-8") if note.is_file() else ""
    if (hung := _HUNG.match(text)) is None:
        return text.strip() or None
    hours, minutes, seconds = map(float, hung.groups())
    found = f"what it was doing stands in {note.parent.name}/{note.name}"
    return f"no epoch within {3600 * hours + 60 * minutes + seconds:g} s (trial_limits.timeout); {found}"


def _timed(steps: Iterator[Step], timeout: float | None, file: TextIO) -> Iterator[Step]:
    """The time that the caller takes for a step does not count."""
    while True:
        if timeout is not None:
            faulthandler.dump_traceback_later(timeout, exit=True, file=file)
        try:
            step = next(steps)
        except StopIteration:
            return
        finally:
            faulthandler.cancel_dump_traceback_later()
        yield step


def _watch_memory(limit: float, file: TextIO, done: threading.Event) -> None:
    while not done.wait(_EVERY):
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / 1e9
        if taken > limit:
            file.write(f"memory: its process took {taken:.2f} GB, more than {limit:g} GB (trial_limits.memory)\n")
            file.flush()
            os._exit(1)
