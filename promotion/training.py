"""One training of a promotion, and what there is to say of its end. No Ray: see `promotion.ray_train`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from training.full.data import FullData
from training.full.model import ModelSpec
from training.full.recipe import Recipe

DIVERGED, FAILED = "diverged", "failed"


@dataclass(frozen=True, kw_only=True)
class Training:
    """One network from one seed."""

    candidate: str
    """Name of the candidate."""
    stage: str
    """Name of the stage."""
    seed: int
    """All its randomness."""
    folder: Path
    """Where its files go; it is there."""
    spec: ModelSpec
    """What is trained."""

    @property
    def label(self) -> str:
        """What it is called in a line for the user."""
        return f"{self.candidate}, {self.stage}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a training came to no result."""

    outcome: str
    """diverged: another attempt would end alike; failed: it may not."""
    reason: str
    """With a traceback where there is one; the last line says it in short."""

    @property
    def short(self) -> str:
        """The last line of the reason."""
        return self.reason.strip().splitlines()[-1]


class Machine(Protocol):
    """What trainings run on."""

    @property
    def cluster(self) -> str:
        """What it has, in words."""

    @property
    def concurrency(self) -> int:
        """Trainings at a time."""

    def train(
        self,
        trainings: Sequence[Training],
        data: FullData,
        recipe: Recipe,
        *,
        ended: Callable[[Training, Failure | None], None],
        watch: Callable[[Collection[Training]], None],
    ) -> None:
        """Train all of them, some at a time.

        Args:
            trainings: begun ones go on from their checkpoints.
            data: what on.
            recipe: how.
            ended: told of each training that came to its end, and of its failure if it failed.
            watch: told now and then which trainings are running.
        """

    def close(self) -> None:
        """End what still runs."""
