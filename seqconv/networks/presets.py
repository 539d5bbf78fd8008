"""Named architectures of Huang et al. 2019 for CIFAR. Their windows equal the input width (w = G)."""

from __future__ import annotations

from seqconv import validation
from seqconv.architecture import Architecture, Stage


def _cifar(*, blocks: int, k: int, widening: int, form: str, pyramid: tuple[int, ...] = (1, 2, 4)) -> Architecture:
    stage = Stage(blocks=blocks, group_width=k, form=form)
    return Architecture(stages=(stage,) * len(pyramid), widening=widening, pyramid=pyramid)


PRESETS = {
    "cifar_plain": _cifar(blocks=3, k=8, widening=8, form="plain"),
    "cifar_b": _cifar(blocks=3, k=8, widening=8, form="bottleneck"),
    "cifar_b_demo": _cifar(blocks=1, k=16, widening=7, form="bottleneck", pyramid=(1, 2, 3)),
    "cifar_b_small": _cifar(blocks=1, k=8, widening=2, form="bottleneck"),
}


def preset(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        ValueError: an unknown name, with the known ones.
    """
    return PRESETS[validation.one_of("preset", name, PRESETS)]
