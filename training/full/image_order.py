"""Which images make up which batch, from any batch on: what the workers are to read, and nothing of how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from training.device import derive

Key = tuple[int, int]
"""(run, index of the image); a run is an epoch in training and a resolution in a test."""


class Order(Protocol):
    """Batches in runs of equal length."""

    @property
    def steps(self) -> int:
        """Batches of a run."""

    def batches(self, run: int, start: int) -> Iterator[list[Key]]:
        """The keys of the batches that are likely to be asked for, from number `start` of a run on."""


@dataclass(frozen=True, kw_only=True)
class TrainOrder:
    """One process's micro-batches, each epoch in a random order of its own.

    A batch is the next images of that order, in which whole batches only are taken: those left over come in another
    epoch. Its micro-batches lie in it one after another, and within a micro-batch the processes' shares, so that the
    images of a batch do not depend on how it is divided.
    """

    images: int
    """Training images."""
    size: int
    """Images of one process's micro-batch."""
    accumulate: int
    """Micro-batches of a batch."""
    epochs: int
    """Epochs of the training, beyond which nothing is read ahead."""
    rank: int
    """Number of this process."""
    world: int
    """Number of processes."""
    seed: int
    """Of the orders."""

    @property
    def steps(self) -> int:
        """Micro-batches of an epoch."""
        return self.images // (self.size * self.world * self.accumulate) * self.accumulate

    def batches(self, run: int, start: int) -> Iterator[list[Key]]:
        """Those of an epoch from number `start` on, then those of the epochs after it."""
        for epoch in range(run, max(run, self.epochs) + 1):
            generator = torch.Generator().manual_seed(derive(self.seed, epoch))
            order = torch.randperm(self.images, generator=generator)
            for step in range(start if epoch == run else 0, self.steps):
                first = (step * self.world + self.rank) * self.size
                yield [(epoch, index) for index in order[first : first + self.size].tolist()]


@dataclass(frozen=True, kw_only=True)
class EvaluationOrder:
    """One process's share of the test images: over all processes each image once. The last batch may be short."""

    images: int
    """Test images."""
    size: int
    """Images of a batch."""
    rank: int
    """Number of this process."""
    world: int
    """Number of processes."""

    @cached_property
    def share(self) -> range:
        """The images of this process."""
        return range(self.rank, self.images, self.world)

    @property
    def steps(self) -> int:
        """Batches of a test."""
        return -(-len(self.share) // self.size)

    def batches(self, run: int, start: int) -> Iterator[list[Key]]:
        """Those of the test at resolution `run` from number `start` on."""
        for first in range(start * self.size, len(self.share), self.size):
            yield [(run, index) for index in self.share[first : first + self.size]]
