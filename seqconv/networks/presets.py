"""Named architectures of Huang et al. 2019 for CIFAR and ImageNet. Their windows equal the input width (w = G)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seqconv import validation
from seqconv.architecture import Architecture, Stage


@dataclass(frozen=True, kw_only=True)
class Family:
    """The data set that the presets of a family are meant for."""

    resolution: int
    """Side of its square images, in pixels."""
    classes: int
    """Number of its classes."""


FAMILIES = {"cifar": Family(resolution=32, classes=10), "imagenet": Family(resolution=224, classes=1000)}
"""By `Architecture.family`: what to measure and build an architecture for where nothing else is said."""


def _cifar(*, blocks: int, k: int, widening: int, form: str, pyramid: tuple[int, ...] = (1, 2, 4)) -> Architecture:
    stage = Stage(blocks=blocks, group_width=k, form=form)
    return Architecture(stages=(stage,) * len(pyramid), widening=widening, pyramid=pyramid)


def _imagenet(*, blocks: Sequence[int], k: Sequence[int], widening: int, subgroups: Sequence[int]) -> Architecture:
    stages = tuple(
        Stage(blocks=b, group_width=width, form="bottleneck", subgroups=s)
        for b, width, s in zip(blocks, k, subgroups, strict=True)
    )
    return Architecture(stages=stages, widening=widening, family="imagenet")


_K = (32, 64, 64, 128)
_ONE = (1, 1, 1, 1)
PRESETS = {
    "cifar_plain": _cifar(blocks=3, k=8, widening=8, form="plain"),
    "cifar_b": _cifar(blocks=3, k=8, widening=8, form="bottleneck"),
    "cifar_b_demo": _cifar(blocks=1, k=16, widening=7, form="bottleneck", pyramid=(1, 2, 3)),
    "cifar_b_small": _cifar(blocks=1, k=8, widening=2, form="bottleneck"),
    "seqresnet_b22": _imagenet(blocks=(1, 1, 2, 1), k=_K, widening=2, subgroups=_ONE),
    "seqresnet_b42": _imagenet(blocks=(3, 4, 5, 3), k=_K, widening=2, subgroups=_ONE),
    "seqresnext_24": _imagenet(blocks=(1, 1, 3, 1), k=_K, widening=4, subgroups=(8, 8, 4, 4)),
    "seqresnet_b_small": _imagenet(blocks=_ONE, k=(8, 16, 32, 64), widening=2, subgroups=_ONE),
    "seqresnext_small": _imagenet(blocks=_ONE, k=(8, 16, 32, 64), widening=2, subgroups=(2, 2, 2, 2)),
}


def preset(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        ValueError: an unknown name, with the known ones.
    """
    return PRESETS[validation.one_of("preset", name, PRESETS)]
