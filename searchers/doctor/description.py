"""What run.yaml says of a search, as far as its trials can be made again from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_spaces.plain import from_dict
from search_spaces.space import SearchSpace
from searchers import objectives
from searchers.run_folder import read_run


@dataclass(frozen=True, kw_only=True)
class Description:
    """One search; what is not known is left at its default."""

    space: SearchSpace | None = None
    """Where the knob values come from; None where that cannot be told."""
    objectives: tuple[str, ...] = (objectives.ERROR,)
    """What is minimised."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The most that a trial may measure."""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """Name, resolution and classes."""
    epochs: int | None = None
    """Of a trial that nothing stops."""
    width: float | None = None
    """Share of its channels that a trial trains; None is all."""


def describe(folder: Path) -> Description:
    """What stands in the run.yaml of a folder.

    Raises:
        ValueError: a file that is damaged, or of another kind or a newer version.
        OSError: it cannot be read.
    """
    run = read_run(folder)
    trial = run["trial"]
    if not isinstance(run["dataset"], Mapping) or not isinstance(trial, Mapping):
        raise ValueError(f"{folder / 'run.yaml'}: dataset and trial must be mappings")
    return Description(
        space=_space(run["search_space"]),
        objectives=objectives.check(run.get("objective", objectives.ERROR)),
        limits=objectives.check_limits(run.get("limits", {})),
        dataset=run["dataset"],
        epochs=trial.get("epochs"),
        width=trial.get("width"),
    )


def _space(data: Any) -> SearchSpace | None:
    """The space that describes itself so; None for one of another kind than this project has."""
    try:
        space = from_dict(data)
        return space if space.to_dict() == data else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
