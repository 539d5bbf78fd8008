"""SeqResNet for CIFAR-sized images (Huang et al. 2019): every stage but the first halves height and width.

3x3 stem; *dense* SeqConv to the first width; residual stages; dropout; blender; global average pooling; classifier.
Two streams run through it: `raw`, which identity shortcuts follow, and `act`, which convolutions read.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from seqconv.aggregation import DENSE
from seqconv.architecture import BASE_WIDTH, Architecture, Stage
from seqconv.layers.initialization import init_conv, init_linear
from seqconv.layers.seqconv import SeqConv2d
from seqconv.networks.part import Part, Streams


def parts(architecture: Architecture, *, classes: int, dropout: float) -> dict[str, Part]:
    """The network as data: named parts in the order in which they run, (N, 3, H, W) images to (N, classes) logits."""
    base, widths = BASE_WIDTH["cifar"], architecture.widths
    # Equal parts are measured once, so a part holds of a stage only what it computes with.
    stages = [replace(stage, blocks=1) for stage in architecture.stages]
    plan = {"stem": Part(Stem, (3, base)), "head": Part(Head, (base, widths[0], replace(stages[0], window=DENSE)))}
    for i, (stage, width) in enumerate(zip(stages, widths, strict=True)):
        if i > 0:
            groups = width // stage.group_width
            plan[f"stage{i + 1}_down"] = Part(Downsample, (widths[i - 1], width, stages[i - 1], groups, dropout))
        for block in range(1, architecture.stages[i].blocks + 1):
            plan[f"stage{i + 1}_block{block}"] = Part(Block, (width, stage, dropout))
    plan["blender"] = Part(Blender, (widths[-1], dropout))
    plan["classifier"] = Part(Classifier, (widths[-1], classes))
    return plan


class Stem(nn.Module):
    """3x3 convolution of the image, batch norm, ReLU."""

    serial_depth, unread_groups = 1, 0

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        init_conv(self.conv)

    def forward(self, image_NCHW: Tensor) -> Streams:
        raw = self.conv(image_NCHW)
        return Streams(raw, torch.relu(self.norm(raw)))


class Head(nn.Module):
    """Dense SeqConv from the stem's channels to the first stage's width."""

    def __init__(self, in_channels: int, width: int, stage: Stage) -> None:
        super().__init__()
        self.layer = _seqconv(in_channels, width, stage, window=DENSE)
        self.serial_depth, self.unread_groups = self.layer.serial_depth, self.layer.unread_groups

    def forward(self, streams: Streams) -> Streams:
        return Streams(*self.layer(streams.act))


class Block(nn.Module):
    """raw + f(act): two SeqConv layers, the second of which adds the raw stream before its batch norms."""

    def __init__(self, width: int, stage: Stage, dropout: float) -> None:
        super().__init__()
        self.layer_a = _seqconv(width, width, stage, dropout=dropout)
        self.layer_b = _seqconv(width, width, stage, dropout=dropout, zero_init=True)
        self.serial_depth = self.layer_a.serial_depth + self.layer_b.serial_depth
        self.unread_groups = self.layer_a.unread_groups + self.layer_b.unread_groups

    def forward(self, streams: Streams) -> Streams:
        _, inner = self.layer_a(streams.act)
        return Streams(*self.layer_b(inner, streams.raw))


class Downsample(nn.Module):
    """Extension: SeqConv C -> C'-C with the old stage's groups. Shrinking: a grouped 3x3 of stride 2 over both."""

    def __init__(self, narrow: int, wide: int, old: Stage, groups: int, dropout: float) -> None:
        super().__init__()
        self.extension = _seqconv(narrow, wide - narrow, old, dropout=dropout)
        self.shrinking = nn.Conv2d(wide, wide, 3, stride=2, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        init_conv(self.shrinking)
        self.serial_depth = self.extension.serial_depth + 1
        self.unread_groups = self.extension.unread_groups

    def forward(self, streams: Streams) -> Streams:
        _, extension = self.extension(streams.act)
        raw = self.shrinking(torch.cat([streams.act, extension], dim=1))
        return Streams(raw, torch.relu(self.norm(raw)))


class Blender(nn.Module):
    """Channel dropout, 1x1 convolution, batch norm, ReLU, global average: (N, C, H, W) to (N, C)."""

    serial_depth, unread_groups = 1, 0

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.conv = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        init_conv(self.conv)

    def forward(self, streams: Streams) -> Tensor:
        return torch.relu(self.norm(self.conv(self.dropout(streams.act)))).mean((2, 3))


class Classifier(nn.Linear):
    """(N, C) features to (N, classes) logits."""

    serial_depth, unread_groups = 1, 0

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        init_linear(self)


def _seqconv(in_channels: int, out_channels: int, stage: Stage, **changes: Any) -> SeqConv2d:
    genes = {k: getattr(stage, k) for k in ("group_width", "window", "form", "subgroups")}
    return SeqConv2d(in_channels, out_channels, **{**genes, **changes})
