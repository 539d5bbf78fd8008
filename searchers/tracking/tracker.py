"""What a tracker is told of a search. A tracker never raises and never makes the search wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from search_spaces.space import SearchSpace
from searchers.record import DUPLICATE, PRUNED

METRICS = (
    "epoch", "train_loss", "train_error", "validation_loss", "validation_error", "learning_rate", "seconds",
    "images_per_second", "build_seconds", "data_seconds", "train_seconds", "evaluate_seconds", "parts",
    "gpu_utilisation", "gpu_joules",
)  # fmt: skip
"""What of an epoch is shown; a trial reports more, such as what Ray Tune adds."""


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

    def open(
        self, *, folder: Path, group: str, config: Mapping[str, Any], space: SearchSpace, objectives: tuple[str, ...]
    ) -> Tracker:
        """Begin tracking a search.

        Args:
            folder: of the search, which exists.
            group: name of the search that no other search has.
            config: what all trials have in common, flat.
            space: where the knob values come from.
            objectives: what is minimised, the error among it.
        """


@dataclass(frozen=True, kw_only=True)
class NoTracker:
    """No tracking: the run folder holds every result anyway."""

    def open(
        self, *, folder: Path, group: str, config: Mapping[str, Any], space: SearchSpace, objectives: tuple[str, ...]
    ) -> Tracker:
        return Nothing()


class Nothing:
    """The tracker that does nothing."""

    def start(self, number: int, config: Mapping[str, Any]) -> None: ...

    def log(self, number: int, metrics: Mapping[str, Any]) -> None: ...

    def finish(self, number: int, summary: Mapping[str, Any]) -> None: ...

    def close(self) -> list[str]:
        return []


def shown(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an epoch that are shown."""
    return {name: metrics[name] for name in METRICS if isinstance(metrics.get(name), (int, float))}


def ended(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of the end of a trial: what is known of the summary, and `state`, the end in words."""
    known = {name: value for name, value in summary.items() if value not in (None, "")}
    return {"state": _state(known), **known}


def _state(summary: Mapping[str, Any]) -> str:
    outcome = str(summary.get("outcome", "unknown"))
    if outcome == DUPLICATE:
        return f"duplicate of {summary.get('duplicate_of')}"
    if outcome == PRUNED and "rung" in summary:
        return f"pruned at rung {summary['rung']} (epoch {summary.get('epochs')})"
    return f"pruned at epoch {summary.get('epochs')}" if outcome == PRUNED else outcome
