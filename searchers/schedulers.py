"""When to stop a trial early, as configuration; Ray Tune implements it, see `searchers.ray_backend`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seqconv import validation


@dataclass(frozen=True, kw_only=True)
class NoScheduler:
    """Every trial trains to its last epoch."""

    name: ClassVar[str] = "none"


@dataclass(frozen=True, kw_only=True)
class Asha:
    """Asynchronous successive halving (Li et al., MLSys 2020).

    A trial that reaches a rung (grace_epochs, times reduction_factor, ...) goes on only where its error is within the
    best 1 / reduction_factor of all that reached it before.

    Raises:
        ValueError: a field out of range, naming it.
    """

    grace_epochs: int = 1
    """Epochs of the first rung."""
    reduction_factor: float = 3.0
    """Ratio between rungs, and between the trials at a rung and those that pass it."""

    name: ClassVar[str] = "asha"

    def __post_init__(self) -> None:
        validation.integer("scheduler.grace_epochs", self.grace_epochs)
        validation.number("scheduler.reduction_factor", self.reduction_factor, low=1, open_low=True)


Scheduler = NoScheduler | Asha
