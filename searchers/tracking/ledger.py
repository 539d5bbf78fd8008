"""What a tracker was told, a line of JSON each: all that a search does for W&B is to append to this file.

That takes microseconds and waits for nobody. The lines outlive every process, so that whatever could not be shown in
time, because a server was down or a process was killed, can be shown later and whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START, LOG, FINISH = "start", "log", "finish"


@dataclass(kw_only=True)
class Told:
    """What was told of one trial."""

    number: int
    """The trial's."""
    began: float
    """When it was first told of, in seconds since 1970."""
    config: dict[str, Any] = field(default_factory=dict)
    """Its knob values and its cost."""
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Metrics by epoch, each with `_timestamp`."""
    summary: dict[str, Any] | None = None
    """How it ended; None while it is open."""


class Ledger:
    """Appends to the file, which it makes where it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._torn = path.exists()  # a process that was killed may have left half a line

    def append(self, event: str, number: int, content: Mapping[str, Any]) -> None:
        """Note one event.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        line = json.dumps({"event": event, "trial": number, "at": time.time(), **content}, default=str).encode()
        data = (b"\n" if self._torn else b"") + line + b"\n"
        self._torn = True
        with self._path.open("ab", buffering=0) as file:
            written = file.write(data)
        if written < len(data):
            raise OSError(f"{self._path} took {written} of {len(data)} bytes")
        self._torn = False


class Reader:
    """Follows the file from its beginning."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0

    def read(self) -> list[dict[str, Any]]:
        """The events since the last call; lines that were cut off are left out."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                lines = file.read()
        except FileNotFoundError:
            return []
        whole = lines[: lines.rfind(b"\n") + 1]
        self._position += len(whole)
        return [event for line in whole.splitlines() if (event := _parsed(line))]


def take(told: dict[int, Told], events: Iterable[Mapping[str, Any]]) -> set[int]:
    """Note events, oldest first, in what is known by trial; returns the trials that they are of.

    An epoch that is told of twice stays as it was.
    """
    changed = set()
    for event in events:
        number = event["trial"]
        trial = told.setdefault(number, Told(number=number, began=event["at"]))
        if event["event"] == START:
            trial.config = dict(event["config"])
        elif event["event"] == LOG:
            trial.rows.setdefault(event["metrics"]["epoch"], {**event["metrics"], "_timestamp": event["at"]})
        elif event["event"] == FINISH:
            trial.summary = dict(event["summary"])
        changed.add(number)
    return changed


def read(path: Path) -> dict[int, Told]:
    """All that the file says, by trial."""
    told: dict[int, Told] = {}
    take(told, Reader(path).read())
    return told


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # of a full disk, or a process that was killed
        return None
    return event if isinstance(event, dict) and {"event", "trial", "at"} <= event.keys() else None
