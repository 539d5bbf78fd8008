"""SeqResNet for CIFAR-sized images (Huang et al. 2019): every stage but the first halves height and width.

3x3 stem; *dense* SeqConv to the first width; residual stages; dropout; blender; global average pooling; classifier.
"""

from __future__ import annotations

from seqconv.architecture import BASE_WIDTH, Architecture, Stage
from seqconv.networks.body import body, head
from seqconv.networks.modules import Convolution
from seqconv.networks.part import Part


def parts(architecture: Architecture, *, in_channels: int, classes: int, dropout: float) -> dict[str, Part]:
    """The network as data: named parts in the order in which they run, images to (N, classes) logits."""
    width = BASE_WIDTH["cifar"]
    return {
        "stem": Part(Convolution, (in_channels, width)),
        "head": head(architecture, width),
        **body(architecture, shrinking_groups=_shrinking_groups, classes=classes, dropout=dropout),
    }


def _shrinking_groups(width: int, stage: Stage) -> int:
    """One a group, whatever the subgroups."""
    return width // stage.group_width
