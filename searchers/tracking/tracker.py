"""What a tracker is told of a search. A tracker never raises and never makes the search wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """A view of one search, one run per trial."""

    def start(self, number: int, config: Mapping[str, Any]) -> None:
        """A trial begins, or goes on after a restart; `config` is its knob values and its cost, flat."""

    def log(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch; `metrics` has the key epoch."""

    def finish(self, number: int, summary: Mapping[str, Any]) -> None:
        """A trial ended, with its outcome and final error."""

    def close(self) -> list[str]:
        """The search ended; returns lines to tell the user, such as how to upload."""


class TrackerConfig(Protocol):
    """The configuration of a tracker."""

    def open(self, *, folder: Path, group: str, config: Mapping[str, Any]) -> Tracker:
        """Begin tracking the search in `folder` under the name `group`."""


@dataclass(frozen=True, kw_only=True)
class NoTracker:
    """No tracking: the run folder holds every result anyway."""

    def open(self, *, folder: Path, group: str, config: Mapping[str, Any]) -> Tracker:
        return _Nothing()


class _Nothing:
    def start(self, number: int, config: Mapping[str, Any]) -> None: ...

    def log(self, number: int, metrics: Mapping[str, Any]) -> None: ...

    def finish(self, number: int, summary: Mapping[str, Any]) -> None: ...

    def close(self) -> list[str]:
        return []
