"""What a session gives a worker to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seqconv import Architecture


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial that is to be trained now."""

    number: int
    architecture: Architecture
    resumed: bool
    """An earlier process had begun it."""
    recipe: Mapping[str, float] | None = None
    """Settings of its own, of a member of a population."""
    parent: tuple[int, int] | None = None
    """The trial that it goes on from, and after which epoch."""
