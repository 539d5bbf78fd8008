"""Any folder of class folders: in memory for a search, from its files at full size for full training."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from seqconv import validation
from training.data import ImageData, Proxy
from training.datasets.image_file import read_rgb

if TYPE_CHECKING:
    from training.datasets.class_folders import Files
    from training.full.image_files import ImageFiles

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images of one class to a folder, see `training.datasets.class_folders.find`.

    Raises:
        ValueError: a field of the wrong kind or out of range.
    """

    root: str
    """Folder of the class folders, or of train/ and test/."""
    resolution: int = 32
    """Side in pixels to which images in memory are cut and scaled; those in files have recipe.resolution."""
    on_error: str = "stop"
    """What an unreadable image does: stop the training, or skip: be left out and counted."""
    workers: int | None = None
    """Processes that read images for each process that trains in full; null: as many as there are cores."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean of each channel for values from 0 to 1, in full training; a search takes that of its images."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Standard deviation of each channel for values from 0 to 1, in full training."""

    name: ClassVar[str] = "folder"
    proxy: ClassVar[Proxy] = Proxy(epochs=4, share=1.0, validation_limit=None)
    held_out: ClassVar[bool] = True
    """Whether test images may be held out of the training set."""

    def __post_init__(self) -> None:
        validation.integer("dataset.resolution", self.resolution, low=8)
        files = self.files()
        for name in ("mean", "std"):  # a tuple read from YAML is a list
            object.__setattr__(self, name, getattr(files, name))

    def files(self) -> ImageFiles:
        """The images as full training reads them, from their files and at their size; nothing is read yet."""
        from training.full.image_files import ImageFiles

        return ImageFiles(
            root=self.root,
            name=self.name,
            held_out=self.held_out,
            on_error=self.on_error,
            workers=self.workers,
            mean=self.mean,
            std=self.std,
        )

    def load(self) -> ImageData:
        """All images and labels, in the order of their names, cut to the central square and scaled to one size.

        Raises:
            ValueError: folders that are missing, empty or of other classes, or a file that is no image, naming it.
        """
        folders = self.files().folders
        train_images, train_labels = self._read(folders.train)
        test_images, test_labels = self._read(folders.test)
        unreadable = len(folders.train) + len(folders.test) - len(train_images) - len(test_images)
        left_out = f"; {unreadable:,} of them unreadable and left out" if unreadable else ""
        return ImageData(
            name=self.name,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=folders.train.class_names,
            source=f"{folders.source}{left_out}",
            proxy=self.proxy,
        )

    def _read(self, files: Files) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty((len(files), 3, self.resolution, self.resolution), np.uint8)
        readable = np.ones(len(files), bool)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, image in enumerate(pool.map(self._read_image, map(files.path, range(len(files))))):
                if image is None:
                    readable[number] = False
                else:
                    images[number] = image
        return (images, files.labels) if readable.all() else (images[readable], files.labels[readable])

    def _read_image(self, path: Path) -> np.ndarray | None:
        """One image as uint8 CHW, or None where it is left out."""
        from PIL import Image, ImageOps

        try:
            image = read_rgb(path)
        except ValueError:
            if self.on_error == "stop":
                raise
            return None
        size = (self.resolution, self.resolution)
        return np.moveaxis(np.asarray(ImageOps.fit(image, size, Image.Resampling.BICUBIC)), -1, 0)
