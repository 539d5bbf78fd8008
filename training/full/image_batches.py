"""Batches of images read from files, for one process of a training.

Shape suffixes: N batch, H height, W width, C channels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.full import image_transforms
from training.full.data import micro_batch
from training.full.image_order import EvaluationOrder, TrainOrder
from training.full.image_samples import UNREADABLE, EvaluationSamples, TrainSamples
from training.full.image_stream import Stream, worker_count

if TYPE_CHECKING:
    from training.full.image_files import ImageFiles
    from training.full.recipe import Recipe

_LOG = logging.getLogger(__name__)


class ImageBatches:
    """The micro-batches of one process; see `training.full.data.Batches`.

    Images travel to the device as bytes and are normalised there. Workers read ahead into the next epoch while the test
    images are read.

    Raises:
        ValueError: a batch that does not divide among the processes, or too few images for one.
    """

    def __init__(
        self, files: ImageFiles, recipe: Recipe, *, rank: int, world: int, seed: int, device: torch.device
    ) -> None:
        size = micro_batch(recipe, world)
        if files.train_size < recipe.batch_size:
            raise ValueError(
                f"recipe.batch_size is {recipe.batch_size} and {files.name} has {files.train_size} training images: "
                "lower recipe.batch_size"
            )
        self.files, self.device, self.skipped = files, device, 0
        self._resolution = recipe.resolution or files.resolution
        self._evaluation_resolution = recipe.evaluation_resolution or self._resolution
        self._mean, self._std = (255 * torch.tensor(v, device=device)[:, None, None] for v in (files.mean, files.std))
        self._layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self._warned: set[str] = set()
        train = TrainSamples(
            files=files.folders.train,
            transform=image_transforms.training(recipe, resolution=self._resolution, mean=files.mean),
            resolution=self._resolution,
            seed=seed,
        )
        order = TrainOrder(
            images=files.train_size,
            size=size,
            accumulate=recipe.accumulate,
            epochs=recipe.epochs,
            rank=rank,
            world=world,
            seed=seed,
        )
        test_order = EvaluationOrder(images=files.test_size, size=size, rank=rank, world=world)
        workers = worker_count(world) if files.workers is None else files.workers
        pinned = device.type == "cuda"
        self.steps, self._test_steps = order.steps, test_order.steps
        self._train = Stream(train, order, workers=workers, pinned=pinned)
        self._test = Stream(EvaluationSamples(files=files.folders.test), test_order, workers=workers, pinned=pinned)

    def train(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The micro-batches of an epoch from number `start` on.

        Raises:
            ValueError: while iterating, a file that cannot be read, where that is not to be skipped.
        """
        for step in range(start, self.steps):
            batch = self._train.batch(epoch, step)
            self._note(batch.problems)
            if (batch.labels == UNREADABLE).any():
                raise ValueError(f"{batch.problems[0]}; nor can the files after it be read")
            yield self._on_device(batch.images_NCHW, batch.labels)

    def test(self, resolution: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the test images, less those that cannot be read and are to be skipped.

        Args:
            resolution: side in pixels; None for the recipe's.

        Raises:
            ValueError: while iterating, a file that cannot be read where that is not to be skipped, or none that can.
        """
        found = 0
        for step in range(self._test_steps):
            batch = self._test.batch(resolution or self._evaluation_resolution, step)
            self._note(batch.problems)
            images_NCHW, labels = batch.images_NCHW, batch.labels
            if batch.problems:
                readable = labels != UNREADABLE
                images_NCHW, labels = images_NCHW[readable], labels[readable]
            if len(labels):
                yield self._on_device(images_NCHW, labels)
            found += len(labels)
        if self._test_steps and not found:
            raise ValueError(f"{self.files.folders.test.root}: none of the images can be read")

    def close(self) -> None:
        """End the workers; the batches are used no more."""
        self._train.close()
        self._test.close()

    def _note(self, problems: list[str]) -> None:
        """Count the images that are left out, and name each once; or stop for the first."""
        if problems and self.files.on_error == "stop":
            raise ValueError(f"{problems[0]}, or pass dataset.on_error=skip to leave such images out")
        self.skipped += len(problems)
        for problem in problems:
            if problem not in self._warned:
                _LOG.warning("left out: %s", problem)
                self._warned.add(problem)

    def _on_device(self, images_NCHW: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images = images_NCHW.to(self.device, non_blocking=True).contiguous(memory_format=self._layout)
        normalised = images.to(torch.float32).sub_(self._mean).div_(self._std)
        return normalised, labels.to(self.device, non_blocking=True)
