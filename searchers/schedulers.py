"""When to stop a trial early, as configuration; Ray Tune implements it, see `searchers.ray_schedulers`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from searchers.population import PopulationBasedTraining
from seqconv import validation


@dataclass(frozen=True, kw_only=True)
class NoScheduler:
    """Every trial trains to its last epoch."""

    name: ClassVar[str] = "none"


@dataclass(frozen=True, kw_only=True)
class Asha:
    """Asynchronous successive halving (Li et al., MLSys 2020).

    A trial that reaches a rung (grace_epochs, times reduction_factor, ...) goes on only where its error is within the
    best 1 / reduction_factor of all that reached it before. With several objectives the order at a rung is that of
    non-dominated sorting, then of crowding (Schmucker et al., 2021).

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


@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """Asynchronous Hyperband (Li et al., JMLR 2018; MLSys 2020): ASHA with several first rungs, dealt out in turn.

    Of `brackets` trials in a row, each has its first rung a factor later than the one before.

    Raises:
        ValueError: a field out of range, naming it.
    """

    grace_epochs: int = 1
    """Epochs of the first rung of the first bracket."""
    reduction_factor: float = 3.0
    """Ratio between rungs, and between the trials at a rung and those that pass it."""
    brackets: int = 3
    """How many first rungs there are."""

    name: ClassVar[str] = "hyperband"

    def __post_init__(self) -> None:
        validation.integer("scheduler.grace_epochs", self.grace_epochs)
        validation.number("scheduler.reduction_factor", self.reduction_factor, low=1, open_low=True)
        validation.integer("scheduler.brackets", self.brackets)


@dataclass(frozen=True, kw_only=True)
class Median:
    """Stop a trial whose best error is above the median of the others' running averages (Golovin et al., KDD 2017).

    Raises:
        ValueError: a field out of range, naming it.
    """

    grace_epochs: int = 1
    """Epochs before the first decision on a trial."""
    startup_trials: int = 5
    """Trials that must have reached an epoch before one is stopped there."""

    name: ClassVar[str] = "median"

    def __post_init__(self) -> None:
        validation.integer("scheduler.grace_epochs", self.grace_epochs)
        validation.integer("scheduler.startup_trials", self.startup_trials)


Scheduler = NoScheduler | Asha | Hyperband | Median | PopulationBasedTraining


def rungs(scheduler: Scheduler, epochs: int) -> tuple[int, ...]:
    """Epochs after which it compares trials, before the last one."""
    if isinstance(scheduler, PopulationBasedTraining):
        return tuple(range(scheduler.interval, epochs, scheduler.interval))
    if isinstance(scheduler, Median):
        return tuple(range(scheduler.grace_epochs, epochs))
    if isinstance(scheduler, NoScheduler):
        return ()
    found, rung = [], float(scheduler.grace_epochs)
    while math.ceil(rung) < epochs:
        found.append(math.ceil(rung))
        rung *= scheduler.reduction_factor
    return tuple(dict.fromkeys(found))


def check_objectives(scheduler: Scheduler, objectives: Sequence[str]) -> None:
    """Refuse a scheduler that compares errors alone, for several objectives.

    Raises:
        ValueError: naming the schedulers that fit.
    """
    if len(objectives) > 1 and isinstance(scheduler, (Hyperband, Median, PopulationBasedTraining)):
        raise ValueError(
            f"scheduler={scheduler.name} compares errors alone; with objective={list(objectives)} take asha or none"
        )
