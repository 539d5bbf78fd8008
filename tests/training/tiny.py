"""A trial of milliseconds: a tiny network, and images whose class it can learn."""

from __future__ import annotations

import numpy as np

from seqconv import Architecture, Stage
from training.data import Split
from training.trial import TrialConfig

TINY = Architecture(stages=(Stage(blocks=1, group_width=8),), pyramid=(1,))
CLASSES = 3
CONFIG = TrialConfig(epochs=4, batch_size=16, augment="crop_flip", dropout=0.1)


def split(images: int = 70, validation: int = 30, seed: int = 0, *, frozen: bool = False) -> Split:
    """Noise in which the brightest channel is the class."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images + validation) % CLASSES)
    pixels = rng.integers(0, 120, (images + validation, 3, 8, 8))
    pixels[np.arange(len(labels)), labels] += 80
    pixels = pixels.astype(np.uint8)
    pixels.flags.writeable = labels.flags.writeable = not frozen
    return Split(
        train_images=pixels[:images],
        train_labels=labels[:images],
        validation_images=pixels[images:],
        validation_labels=labels[images:],
        mean=(0.3, 0.3, 0.3),
        std=(0.2, 0.2, 0.2),
    )
