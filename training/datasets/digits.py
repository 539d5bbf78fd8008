"""Handwritten digits that come with scikit-learn: real images for a machine without data and network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from seqconv import validation
from training.data import ImageData, Proxy, stratified_order

TEST_SHARE = 0.2
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Digits:
    """1,797 digits of 8x8 grey levels, enlarged and drawn in three equal channels; a fixed 20 % are the test set.

    Raises:
        ValueError: another resolution.
    """

    resolution: int = 16
    """Side of an image in pixels: 16 or 32."""

    name: ClassVar[str] = "digits"
    proxy: ClassVar[Proxy] = Proxy(epochs=6, share=1.0, validation_limit=None, validation=0.25)

    def __post_init__(self) -> None:
        validation.one_of("dataset.resolution", self.resolution, (16, 32))

    def load(self) -> ImageData:
        """All images and labels, each part in the package's order."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
        images = np.stack([self._draw(image) for image in grey])
        labels = digits.target.astype(np.int64)
        order = stratified_order(labels, seed=_SEED)
        cut = round(TEST_SHARE * len(order))
        test, train = np.sort(order[:cut]), np.sort(order[cut:])
        return ImageData(
            name=self.name,
            train_images=images[train],
            train_labels=labels[train],
            test_images=images[test],
            test_labels=labels[test],
            class_names=tuple(map(str, range(10))),
            source=f"digits, {len(images):,} handwritten digits of scikit-learn drawn at {self.resolution} pixels",
            proxy=self.proxy,
            flip=False,
        )

    def _draw(self, grey: np.ndarray) -> np.ndarray:
        from PIL import Image

        size = (self.resolution, self.resolution)
        drawn = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC))
        return np.repeat(drawn[None], 3, axis=0)
