"""What both families have behind their head: the residual stages, the blender, the classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from seqconv.aggregation import DENSE
from seqconv.architecture import Architecture, Stage
from seqconv.networks.modules import Blender, Block, Classifier, Downsample, GlobalPool, Head
from seqconv.networks.part import Part


def head(architecture: Architecture, in_channels: int) -> Part:
    """The dense SeqConv in front of the stages; it has no dropout."""
    return Part(Head, (in_channels, architecture.widths[0], replace(architecture.stages[0], blocks=1, window=DENSE)))


def body(
    architecture: Architecture, *, shrinking_groups: Callable[[int, Stage], int], classes: int, dropout: float
) -> dict[str, Part]:
    """Residual stages with a downsampling layer between two, blender, global average pooling, classifier.

    Args:
        architecture: what to build.
        shrinking_groups: from a stage's width and the stage, the groups of the convolution that leads to it.
        classes: number of logits.
        dropout: probability of dropping a channel in front of each SeqConv step and the blender.
    """
    widths = architecture.widths
    # Equal parts are measured once, so a part holds of a stage only what it computes with.
    stages = [replace(stage, blocks=1) for stage in architecture.stages]
    plan = {}
    for i, (stage, width) in enumerate(zip(stages, widths, strict=True)):
        if i > 0:
            groups = shrinking_groups(width, stage)
            plan[f"stage{i + 1}_down"] = Part(Downsample, (widths[i - 1], width, stages[i - 1], groups, dropout))
        for block in range(1, architecture.stages[i].blocks + 1):
            plan[f"stage{i + 1}_block{block}"] = Part(Block, (width, stage, dropout))
    plan["blender"] = Part(Blender, (widths[-1], dropout))
    plan["global_pool"] = Part(GlobalPool, ())
    plan["classifier"] = Part(Classifier, (widths[-1], classes))
    return plan
