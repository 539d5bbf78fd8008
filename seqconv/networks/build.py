"""The one function that turns an architecture into a module."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from seqconv import validation
from seqconv.architecture import Architecture
from seqconv.networks import cifar
from seqconv.networks.part import Part

_FAMILIES = {"cifar": cifar.parts}


def plan(architecture: Architecture, *, classes: int, dropout: float = 0.0) -> dict[str, Part]:
    """The named parts of the network, in the order in which they run.

    Raises:
        ValueError: classes or dropout out of range.
    """
    validation.integer("classes", classes)
    validation.number("dropout", dropout, low=0, high=0.99)
    return _FAMILIES[architecture.family](architecture, classes=classes, dropout=dropout)


def build(architecture: Architecture, *, classes: int, dropout: float = 0.0) -> nn.Sequential:
    """A freshly initialised network that maps (N, 3, H, W) images to (N, classes) logits.

    Args:
        architecture: what to build.
        classes: number of logits, at least 1.
        dropout: probability of dropping a channel in front of each SeqConv step and the blender, in [0, 0.99].

    Raises:
        ValueError: classes or dropout out of range.
    """
    parts = plan(architecture, classes=classes, dropout=dropout)
    return nn.Sequential(OrderedDict((name, part.build()) for name, part in parts.items()))
