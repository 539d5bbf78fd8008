"""What full training asks of its images, wherever they lie. No torch at import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from training.full.recipe import Recipe


class FullData(Protocol):
    """A data set as a plain description that pickles: it holds no open resources."""

    @property
    def name(self) -> str:
        """What it is, such as cifar10; recorded with every result."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label."""

    @property
    def resolution(self) -> int:
        """Side in pixels of the images that training sees where the recipe says nothing else."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of each channel, for pixel values from 0 to 1."""

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of each channel, for pixel values from 0 to 1."""

    @property
    def source(self) -> str:
        """One sentence: which images, and from where."""

    @property
    def train_size(self) -> int:
        """Number of training images."""

    @property
    def test_size(self) -> int:
        """Number of test images."""

    def open(self, recipe: Recipe, *, rank: int, world: int, seed: int, device: torch.device) -> Batches:
        """The batches of process `rank` of `world`.

        Raises:
            ValueError: a recipe that these images cannot be trained by, or too few of them for one batch.
        """


class Batches(Protocol):
    """The micro-batches of one process, with resources open.

    What `train` gives depends on the seed, the epoch, the position, rank and world alone: training that goes on in the
    middle of an epoch sees, on a CPU, bit-equal batches.
    """

    @property
    def steps(self) -> int:
        """Micro-batches of an epoch in this process: a multiple of `recipe.accumulate`."""

    @property
    def skipped(self) -> int:
        """Unreadable images that were left out so far."""

    def train(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The micro-batches of an epoch from number `start` on.

        Yields:
            Normalised, augmented (n, C, H, W) float32 images on the device, in the recipe's layout, n being
            `micro_batch(recipe, world)`; and int64 labels (n).
        """

    def test(self, resolution: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the test images, every one exactly once over all processes.

        Args:
            resolution: side in pixels; None for that of the training images.
        """

    def close(self) -> None:
        """Let the resources go; the batches are used no more."""


def micro_batch(recipe: Recipe, world: int) -> int:
    """Images of a micro-batch in one of `world` processes.

    Raises:
        ValueError: a batch that does not split into equal micro-batches of at least two images.
    """
    parts = world * recipe.accumulate
    images, left = divmod(recipe.batch_size, parts)
    if left or images < 2:
        raise ValueError(
            f"recipe.batch_size must be a multiple of {parts} ({world} processes x {recipe.accumulate} micro-batches) "
            f"with at least two images each, got {recipe.batch_size}"
        )
    return images
