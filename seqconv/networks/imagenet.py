"""SeqResNet, SeqResNet-B and SeqResNeXt for ImageNet-sized images (Huang et al. 2019): stage 1 at a quarter of a side.

3x3 of stride 2 and 3x3, both to 32 channels; *dense* SeqConv to the first width at half resolution; grouped 3x3 of
stride 2; residual stages, each at half the resolution of the one before; blender; global average pooling; classifier.
"""

from __future__ import annotations

from seqconv.architecture import Architecture, Stage
from seqconv.networks.body import body, head
from seqconv.networks.modules import Convolution
from seqconv.networks.part import Part

STEM_WIDTH = 32
"""Channels in front of the head."""


def parts(architecture: Architecture, *, in_channels: int, classes: int, dropout: float) -> dict[str, Part]:
    """The network as data: named parts in the order in which they run, images to (N, classes) logits."""
    width = architecture.widths[0]
    return {
        "stem": Part(Convolution, (in_channels, STEM_WIDTH, 2)),
        "stem2": Part(Convolution, (STEM_WIDTH, STEM_WIDTH)),
        "head": head(architecture, STEM_WIDTH),
        "stage1_down": Part(Convolution, (width, width, 2, _shrinking_groups(width, architecture.stages[0]))),
        **body(architecture, shrinking_groups=_shrinking_groups, classes=classes, dropout=dropout),
    }


def _shrinking_groups(width: int, stage: Stage) -> int:
    """As many as a bottleneck's 3x3 would have over the whole width: S in each group."""
    return width // stage.group_width * stage.subgroups
