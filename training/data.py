"""Labelled images in memory, and the split of the training set that a search selects on. NumPy alone.

Images are uint8 and NCHW: image, channel (red, green, blue), row, column.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from seqconv import validation as check
from training import levels


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """The fidelity that is recommended for proxy training on a data set.

    Raises:
        ValueError: a field out of range.
    """

    epochs: int
    """Passes over the train part."""
    share: float
    """Share of the train part that is used, in (0, 1]."""
    validation_limit: int | None
    """Most validation images that are used; None for all."""
    validation: float = 0.1
    """Share of the training set that is held out to validate, above 0 and at most 0.5."""

    def __post_init__(self) -> None:
        check.integer("proxy epochs", self.epochs)
        check.number("proxy validation", self.validation, low=0, high=0.5, open_low=True)
        _check_amounts(self.share, self.validation_limit)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageData:
    """A data set for classification: square colour images, labels, and where they come from.

    Raises:
        ValueError: images that are no uint8 NCHW of one size with 3 channels, labels that do not fit images or classes.
    """

    name: str
    """What it is, such as cifar10; recorded with every result."""
    train_images: np.ndarray
    """uint8 NCHW."""
    train_labels: np.ndarray
    """int64, one an image, an index into `class_names`."""
    test_images: np.ndarray
    """uint8 NCHW; never used to select an architecture."""
    test_labels: np.ndarray
    """int64, one an image, an index into `class_names`."""
    class_names: tuple[str, ...]
    """Name of each label."""
    source: str
    """One sentence: which images, from where, and why these."""
    proxy: Proxy
    """Recommended fidelity."""
    flip: bool = True
    """Whether a mirrored image keeps its meaning."""

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            _check_part(f"{self.name}: {part}", images, labels, len(self.class_names))
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            sizes = f"{self.train_images.shape[1:]} and {self.test_images.shape[1:]}"
            raise ValueError(f"{self.name}: train and test images must be of one size, got {sizes}")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def resolution(self) -> int:
        """Side of an image in pixels."""
        return int(self.train_images.shape[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Two disjoint parts of a training set, and the statistics that normalise both."""

    train_images: np.ndarray
    """uint8 NCHW."""
    train_labels: np.ndarray
    """int64."""
    validation_images: np.ndarray
    """uint8 NCHW."""
    validation_labels: np.ndarray
    """int64."""
    mean: tuple[float, float, float]
    """Mean of each channel of the train part, for pixel values from 0 to 1."""
    std: tuple[float, float, float]
    """Standard deviation of each channel of the train part, for pixel values from 0 to 1."""
    subsets: Mapping[float, np.ndarray] = field(default_factory=dict)
    """Indices into the train part of what each smaller share has, where the share grows."""


def split(
    data: ImageData,
    *,
    validation: float = 0.1,
    share: float | Mapping[int, float] = 1.0,
    validation_limit: int | None = None,
    seed: int = 0,
) -> Split:
    """Divide the training set by class into a train and a validation part; the test set is not looked at.

    Both parts are fixed by `seed`, and nested: a smaller share or limit is a subset of a larger one.

    Args:
        data: whose training set is divided.
        validation: share of the training set that is held out, above 0 and at most 0.5.
        share: share of the rest that is trained on, in (0, 1], or the shares by the epoch from which on they hold: the
            train part is that of the last one, and its statistics hold for all.
        validation_limit: most images of the held-out part that are used; None for all.
        seed: of the split, apart from the seed of a search: results of different seeds stay comparable.

    Raises:
        ValueError: a value out of range, or a part that would have no image of some class.
    """
    check.number("validation", validation, low=0, high=0.5, open_low=True)
    check.integer("split seed", seed, low=0)
    shares = levels.values(share)
    for amount in shares:
        _check_amounts(amount, validation_limit)
    labels = data.train_labels
    order = stratified_order(labels, seed=seed)
    cut = round(validation * len(order))
    held_out, rest = order[:cut][:validation_limit], order[cut:]
    rest = rest[_even_order(labels[rest])]
    train, *smaller = (np.sort(rest[: round(amount * len(rest))]) for amount in reversed(shares))
    held_out = np.sort(held_out)
    _check_classes("validation", labels[held_out], data, "raise validation or validation_limit")
    _check_classes("train", labels[[train, *smaller][-1]], data, "raise share or lower validation")
    mean, std = channel_statistics(data.train_images[train])
    return Split(
        train_images=data.train_images[train],
        train_labels=labels[train],
        validation_images=data.train_images[held_out],
        validation_labels=labels[held_out],
        mean=mean,
        std=std,
        subsets=dict(zip(shares[-2::-1], (np.searchsorted(train, part) for part in smaller), strict=True)),
    )


def stratified_order(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """All indices in an order that is random within each class and whose every beginning has the classes' proportions.

    A beginning as long as the number of classes or longer has an image of each of them.
    """
    # random.Random.random is the generator whose sequence no later version may change.
    generator = random.Random(seed)
    shuffled = np.argsort([generator.random() for _ in range(len(labels))], kind="stable")
    order: np.ndarray = shuffled[_even_order(labels[shuffled])]
    return order


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel of uint8 NCHW images, for pixel values from 0 to 1.

    A channel that never changes gets one grey level as its deviation, so that normalising does not divide by zero.
    """
    histogram = np.zeros((3, 256), np.int64)
    for start in range(0, len(images), 1000):
        for channel in range(3):
            histogram[channel] += np.bincount(images[start : start + 1000, channel].ravel(), minlength=256)
    share = histogram / histogram.sum(axis=1, keepdims=True)
    level = np.arange(256) / 255
    mean = share @ level
    std = np.sqrt((share * (level - mean[:, None]) ** 2).sum(axis=1))
    return _triple(mean), _triple(np.maximum(std, 1 / 255))


def _even_order(labels: np.ndarray) -> np.ndarray:
    """Positions by how far through its class each stands, the first of every class first."""
    by_class = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    first = np.cumsum(sizes) - sizes
    progress = np.empty(len(labels))
    sorted_labels = labels[by_class]
    progress[by_class] = (np.arange(len(labels)) - first[sorted_labels]) / sizes[sorted_labels]
    return np.lexsort((labels, progress))


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue


def _check_amounts(share: float, validation_limit: int | None) -> None:
    check.number("share", share, low=0, high=1, open_low=True)
    if validation_limit is not None:
        check.integer("validation_limit", validation_limit)


def _check_classes(part: str, labels: np.ndarray, data: ImageData, advice: str) -> None:
    count = np.bincount(labels, minlength=data.classes)
    if not count.all():
        missing = data.class_names[int(count.argmin())]
        raise ValueError(
            f"the {part} part of {data.name} has {len(labels)} images and none of class {missing!r} "
            f"({data.classes} classes): {advice}"
        )


def _check_part(where: str, images: np.ndarray, labels: np.ndarray, classes: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"{where} images must be square uint8 NCHW of 3 channels, got {images.dtype} {images.shape}")
    if labels.dtype != np.int64 or labels.shape != images.shape[:1] or not labels.size:
        expected = f"{len(images)} int64 for {len(images)} images, at least one"
        raise ValueError(f"{where} labels must be {expected}, got {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{where} labels must be from 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
