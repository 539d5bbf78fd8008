"""The one function that turns an architecture into a module."""

from __future__ import annotations

from collections import OrderedDict

from seqconv import validation
from seqconv.architecture import Architecture
from seqconv.networks import cifar, imagenet
from seqconv.networks.network import Network
from seqconv.networks.part import Part

_FAMILIES = {"cifar": cifar.parts, "imagenet": imagenet.parts}


def plan(architecture: Architecture, *, classes: int, dropout: float = 0.0, in_channels: int = 3) -> dict[str, Part]:
    """The named parts of the network, in the order in which they run.

    Raises:
        ValueError: classes, dropout or in_channels out of range.
    """
    validation.integer("classes", classes)
    validation.number("dropout", dropout, low=0, high=0.99)
    validation.integer("in_channels", in_channels)
    parts = _FAMILIES[architecture.family]
    return parts(architecture, in_channels=in_channels, classes=classes, dropout=dropout)


def build(
    architecture: Architecture, *, classes: int, dropout: float = 0.0, in_channels: int = 3, recompute: bool = False
) -> Network:
    """A freshly initialised network that maps (N, in_channels, H, W) images to (N, classes) logits.

    Args:
        architecture: what to build.
        classes: number of logits, at least 1.
        dropout: probability of dropping a channel in front of each SeqConv step and the blender, in [0, 0.99].
        in_channels: channels of the images, at least 1.
        recompute: save memory in training by computing blocks a second time in backward, with equal results.

    Raises:
        ValueError: classes, dropout, in_channels or recompute out of range.
    """
    validation.boolean("recompute", recompute)
    parts = plan(architecture, classes=classes, dropout=dropout, in_channels=in_channels)
    return Network(OrderedDict((name, part.build()) for name, part in parts.items()), recompute=recompute)
