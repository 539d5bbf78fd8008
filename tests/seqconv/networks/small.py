"""Small networks of both families, and streams to feed their parts."""

from typing import Any

import torch

from seqconv.aggregation import DENSE, Window
from seqconv.architecture import Architecture, Stage
from seqconv.layers.streams import Streams

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"form": "plain"},
    "bottleneck": {"form": "bottleneck"},
    "subgroups": {"form": "bottleneck", "subgroups": 4},
}
FAMILIES = ("cifar", "imagenet")


def architecture(window: Window = DENSE, *, family: str = "cifar", blocks: int = 1, **form: Any) -> Architecture:
    """Three stages of 16, 32 and 64 channels (cifar) or two of 64 and 128 (imagenet)."""
    widths = {"cifar": (8, 8, 16), "imagenet": (16, 32)}[family]
    stages = tuple(Stage(blocks=blocks, group_width=k, window=window, **form) for k in widths)
    return Architecture(stages=stages, widening=1, pyramid=(1, 2, 4)[: len(stages)], family=family)


def streams(channels: int, size: int = 8) -> Streams:
    """Of a batch of four; act is not a function of raw, so that mistaking one for the other shows."""
    generator = torch.Generator().manual_seed(0)
    raw, act = torch.randn(2, 4, channels, size, size, generator=generator)
    return Streams(raw, torch.relu(act))
