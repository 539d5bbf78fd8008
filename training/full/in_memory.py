"""Images that fit into memory: held on the device as bytes, drawn, cropped and mirrored there, without workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from seqconv import validation
from training import augment, device
from training.data import ImageData, Split, channel_statistics, split
from training.full.data import micro_batch
from training.full.recipe import Recipe
from training.trainer import EVALUATION_BATCH

PARTS = ("test", "validation")
AUGMENTATIONS = ("auto", "crop_flip", "crop", "none")


@dataclass(frozen=True, kw_only=True, eq=False)
class InMemory:
    """The images of an `ImageData` for full training.

    Raises:
        ValueError: another part.
    """

    data: ImageData
    """All images."""
    part: str = "test"
    """test: trains on the whole training set and tests on the test set. validation: trains on what a search trains on
    and tests on what a search validates on, for choices that must not look at the test set."""

    def __post_init__(self) -> None:
        validation.one_of("part", self.part, PARTS)

    @property
    def name(self) -> str:
        """The data set's; with what it is tested on where that is not the test set."""
        return self.data.name if self.part == "test" else f"{self.data.name} ({self.part})"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.data.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label."""
        return self.data.class_names

    @property
    def resolution(self) -> int:
        """Side of an image in pixels."""
        return self.data.resolution

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of each channel of the images that are trained on."""
        return self.images.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of each channel of the images that are trained on."""
        return self.images.std

    @property
    def source(self) -> str:
        """One sentence: which images, and from where."""
        return self.data.source

    @property
    def train_size(self) -> int:
        """Number of images that are trained on."""
        return len(self.images.train_labels)

    @property
    def test_size(self) -> int:
        """Number of images that are tested on."""
        return len(self.images.validation_labels)

    @cached_property
    def images(self) -> Split:
        """What is trained on, and as its validation part what is tested on."""
        if self.part == "validation":
            return split(self.data, validation=self.data.proxy.validation)
        mean, std = channel_statistics(self.data.train_images)
        return Split(
            train_images=self.data.train_images,
            train_labels=self.data.train_labels,
            validation_images=self.data.test_images,
            validation_labels=self.data.test_labels,
            mean=mean,
            std=std,
        )

    def open(self, recipe: Recipe, *, rank: int, world: int, seed: int, device: torch.device) -> InMemoryBatches:
        """The batches of process `rank` of `world`.

        Raises:
            ValueError: a recipe that asks for what is done to images in files only, or for more images than there are.
        """
        self._check(recipe)
        return InMemoryBatches(self, recipe, rank=rank, world=world, seed=seed, place=device)

    def _check(self, recipe: Recipe) -> None:
        if recipe.augment not in AUGMENTATIONS:
            raise ValueError(
                f"recipe.augment must be one of {', '.join(AUGMENTATIONS)} for images in memory such as {self.name}, "
                f"got {recipe.augment!r}; the others are for images in files"
            )
        for field in ("colour_jitter", "lighting", "random_erasing"):
            if getattr(recipe, field):
                raise ValueError(
                    f"recipe.{field} must be 0 for images in memory such as {self.name}, "
                    f"got {getattr(recipe, field):g}; it is for images in files"
                )
        for field in ("resolution", "evaluation_resolution"):
            if getattr(recipe, field) not in (None, self.resolution):
                raise ValueError(
                    f"recipe.{field} must be null or {self.resolution} for images in memory such as {self.name}, "
                    f"got {getattr(recipe, field)}; others are for images in files"
                )
        if self.train_size < recipe.batch_size:
            raise ValueError(
                f"recipe.batch_size is {recipe.batch_size} and {self.name} has {self.train_size} training images: "
                "lower recipe.batch_size"
            )


class InMemoryBatches:
    """The micro-batches of one process; see `training.full.data.Batches`.

    A batch is the next images of the epoch's random order, in which whole batches only are taken; its micro-batches lie
    in it one after another, and within a micro-batch the processes' shares. So the images of a batch, and what is done
    to each, do not depend on how it is divided.
    """

    skipped = 0

    def __init__(
        self, description: InMemory, recipe: Recipe, *, rank: int, world: int, seed: int, place: torch.device
    ) -> None:
        self.recipe, self.rank, self.world, self.seed, self.place = recipe, rank, world, seed, place
        images = description.images
        self.size = micro_batch(recipe, world)
        self.images, self.labels = device.hold(images.train_images, images.train_labels, place)
        self.tested = device.hold(images.validation_images[rank::world], images.validation_labels[rank::world], place)
        self.mean, self.std = (torch.tensor(v, device=place) * 255 for v in (images.mean, images.std))
        self.steps = len(self.images) // recipe.batch_size * recipe.accumulate
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        preserved = "crop_flip" if description.data.flip else "crop"
        self.augment = preserved if recipe.augment == "auto" else recipe.augment

    def train(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The micro-batches of an epoch from number `start` on."""
        generator = torch.Generator().manual_seed(device.derive(self.seed, epoch))
        order = torch.randperm(len(self.images), generator=generator).to(self.place)
        padding = self.images.shape[1] // 8
        flip = self.augment == "crop_flip"
        draws = augment.draw(len(self.images), padding=padding, flip=flip, generator=generator).to(self.place)
        for position in range(start, self.steps):
            first = (position * self.world + self.rank) * self.size
            chosen = order[first : first + self.size]
            images = self.images[chosen]
            if self.augment != "none":
                images = augment.crop_flip(images, draws[first : first + self.size], padding=padding)
            yield self._normalised(images), self.labels[chosen]

    def test(self, resolution: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the test images."""
        images, labels = self.tested
        size = EVALUATION_BATCH[self.place.type]
        for first in range(0, len(labels), size):
            yield self._normalised(images[first : first + size]), labels[first : first + size]

    def close(self) -> None:
        """Nothing is open."""

    def _normalised(self, images_NHWC: Tensor) -> Tensor:
        normalised = images_NHWC.to(torch.float32).sub_(self.mean).div_(self.std)
        return normalised.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)
