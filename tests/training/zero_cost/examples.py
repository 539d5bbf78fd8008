"""Networks that are small enough for slow, obvious expressions, and what they look at."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqconv import Architecture, Stage, Window
from training.zero_cost.scoring import Batch

CLASSES = 3
TINY = Architecture(
    stages=(
        Stage(blocks=1, group_width=8, window=Window(ratio=0.5)),
        Stage(blocks=1, group_width=8, form="bottleneck", window=Window(ratio=1.5)),
    ),
    pyramid=(1, 2),
)
"""Both forms, two windows, and a downsampling layer."""
WIDE = Architecture(stages=(Stage(blocks=1, group_width=16),) * 2, pyramid=(1, 3), widening=2)


def batch(images: int = 6, *, size: int = 8, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(images, 3, size, size, generator=generator), torch.arange(images) % CLASSES)


def convolutional(*, norm: bool = True) -> nn.Sequential:
    """A convolution and a linear layer in float64, with weights that a fixed seed draws."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        norms = [nn.BatchNorm2d(2)] if norm else []
        layers = [nn.Conv2d(3, 2, 3, bias=False), *norms, nn.ReLU(), nn.Flatten(), nn.Linear(8, CLASSES)]
        return nn.Sequential(*layers).double()


def small_batch(images: int = 4) -> Batch:
    """For `convolutional`: images of 4 x 4."""
    images_NCHW, labels = batch(images, size=4)
    return Batch(images_NCHW.double(), labels)


def loss_of(model: nn.Module, data: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(data.images_NCHW), data.labels)
