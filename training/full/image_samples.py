"""One image of a batch: found, read and transformed, in whichever process that happens.

Shape suffixes: N batch, H height, W width, C channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from training.datasets.class_folders import Files
from training.datasets.image_file import read_rgb
from training.full import image_transforms
from training.full.image_order import Key
from training.full.image_transforms import Transform

UNREADABLE = -1
"""Label of an image that could not be read and has no other in its place."""
NEIGHBOURS = 10
"""Files after an unreadable one of which the first that can be read takes its place."""


class Sample(NamedTuple):
    """One image."""

    image_CHW: Tensor
    """uint8."""
    label: int
    """Its class, or `UNREADABLE`."""
    problem: str
    """Why the image that was asked for could not be read; empty where it could."""


class Batch(NamedTuple):
    """Images of one micro-batch."""

    images_NCHW: Tensor
    """uint8."""
    labels: Tensor
    """int64."""
    problems: list[str]
    """Those of the images that could not be read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainSamples(Dataset[Sample]):
    """Augmented training images; what an image becomes depends on the seed, the epoch and its index alone."""

    files: Files
    """The training set."""
    transform: Transform
    """Augmentation, which draws from torch's global random numbers."""
    resolution: int
    """Side in pixels of what it returns."""
    seed: int
    """Of the augmentation."""

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        problem = ""
        for neighbour in range(index, index + 1 + NEIGHBOURS):
            place = neighbour % len(self.files)
            try:
                image = read_rgb(self.files.path(place))
            except ValueError as error:
                problem = problem or str(error)
                continue
            with _seeded(self.seed, epoch, index):
                image_CHW = self.transform(image)
            return Sample(image_CHW, int(self.files.labels[place]), problem)
        return _unreadable(self.resolution, problem)


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationSamples(Dataset[Sample]):
    """The centres of the test images."""

    files: Files
    """The test set."""

    def __getitem__(self, key: Key) -> Sample:
        resolution, index = key
        try:
            image = read_rgb(self.files.path(index))
        except ValueError as error:
            return _unreadable(resolution, str(error))
        return Sample(image_transforms.evaluation(resolution)(image), int(self.files.labels[index]), "")


def collate(samples: Sequence[Sample]) -> Batch:
    """One batch of them, in memory that processes share where a worker makes it."""
    images_NCHW = default_collate([sample.image_CHW for sample in samples])
    labels = torch.tensor([sample.label for sample in samples])
    return Batch(images_NCHW, labels, [sample.problem for sample in samples if sample.problem])


@contextlib.contextmanager
def _seeded(*numbers: int) -> Iterator[None]:
    """Torch's global random numbers on the CPU from `numbers` inside, and the caller's afterwards."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed all GPUs too, which takes twenty times as long as all the rest here.
        torch.default_generator.manual_seed(seed)
        yield


def _unreadable(resolution: int, problem: str) -> Sample:
    return Sample(torch.zeros(3, resolution, resolution, dtype=torch.uint8), UNREADABLE, problem)
