"""Any folder of class folders: root/train/<class>/* and root/test/<class>/*, or root/<class>/*."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from seqconv import validation
from training.data import ImageData, Proxy, stratified_order
from training.datasets.root import root_path

TEST_SHARE = 0.2
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images of one class to a folder, cut to the central square and scaled to one size.

    `train/` holds the training set where it exists, else root does; `test/` or, without one, `val/` the test set. Where
    neither exists, a fixed 20 % of each class are the test set. Names that begin with a dot are left out.

    Raises:
        ValueError: a field of the wrong kind.
    """

    root: str
    """Folder of the class folders, or of train/ and test/."""
    resolution: int = 32
    """Side in pixels to which images are scaled."""

    name: ClassVar[str] = "folder"
    proxy: ClassVar[Proxy] = Proxy(epochs=4, share=1.0, validation_limit=None)

    def __post_init__(self) -> None:
        root_path(self.root)
        validation.integer("dataset.resolution", self.resolution, low=8)

    def load(self) -> ImageData:
        """All images and labels, in the order of their names.

        Raises:
            ValueError: no folder, fewer than two classes, a class without images, test classes that are not those of
                the training set, or a file that is no image, naming it.
        """
        root = root_path(self.root)
        train_root = root / "train" if (root / "train").is_dir() else root
        test_root = _test_root(root) if train_root != root else None
        train = _classes(train_root)
        if test_root is not None:
            test = _classes(test_root)
            _check_same_classes(test_root, test, train)
        else:
            train, test = _hold_out(train)
        train_images, train_labels = self._read(train)
        test_images, test_labels = self._read(test)
        held_out = f"held out of it ({TEST_SHARE:.0%})" if test_root is None else f"of {test_root}"
        return ImageData(
            name=self.name,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=tuple(train),
            source=f"{len(train_images):,} training images of {train_root}, {len(test_images):,} to test {held_out}",
            proxy=self.proxy,
        )

    def _read(self, classes: dict[str, list[Path]]) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in classes.values()])
        images = np.empty((len(labels), 3, self.resolution, self.resolution), np.uint8)
        files = [file for files in classes.values() for file in files]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, image in enumerate(pool.map(self._read_image, files)):
                images[number] = image
        return images, labels

    def _read_image(self, path: Path) -> np.ndarray:
        """One image as uint8 CHW, turned as its camera says."""
        from PIL import Image, ImageOps

        size = (self.resolution, self.resolution)
        try:
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image)
        except Exception as error:
            raise ValueError(f"{path}: cannot be read as an image ({error}); repair or remove it") from None
        # Pillow cuts values above 255 off where it converts these modes.
        if upright.mode.startswith(("I", "F")):
            raise ValueError(f"{path}: has more than 8 bits a channel (mode {upright.mode}); convert it to 8 bits")
        pixels = np.asarray(ImageOps.fit(upright.convert("RGB"), size, Image.Resampling.BICUBIC))
        return np.moveaxis(pixels, -1, 0)


def _test_root(root: Path) -> Path | None:
    return next((root / part for part in ("test", "val") if (root / part).is_dir()), None)


def _classes(root: Path) -> dict[str, list[Path]]:
    """The files of each class, both by name."""
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; dataset.root must hold one folder of images for each class")
    folders = [entry for entry in _visible(root) if entry.is_dir()]
    if len(folders) < 2:
        found = ", ".join(folder.name for folder in folders) or "none"
        raise ValueError(f"{root}: must hold the folders of at least two classes, found {found}")
    classes = {folder.name: _visible(folder) for folder in folders}
    for name, files in classes.items():
        if not files:
            raise ValueError(f"{root / name}: the class has no images; add some or remove the folder")
        for file in files:
            if file.is_dir():
                raise ValueError(f"{file}: is a folder; a class folder holds images alone")
    return classes


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _check_same_classes(where: Path, test: Collection[str], train: Collection[str]) -> None:
    odd = sorted(set(test) ^ set(train))
    if odd:
        raise ValueError(f"{where}: must have the classes of the training set; {', '.join(odd)} stand in one alone")


def _hold_out(classes: dict[str, list[Path]]) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """The files of each class without and with those of the test set."""
    train, test = {}, {}
    for name, files in classes.items():
        if len(files) < 2:
            raise ValueError(f"{files[0].parent}: the class needs at least two images, one of them for the test set")
        order = stratified_order(np.zeros(len(files), np.int64), seed=_SEED)
        cut = max(1, round(TEST_SHARE * len(files)))
        test[name] = [files[i] for i in np.sort(order[:cut])]
        train[name] = [files[i] for i in np.sort(order[cut:])]
    return train, test
