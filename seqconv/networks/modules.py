"""The modules that both families of SeqResNet (Huang et al. 2019) are made of.

Two streams run between them: `raw`, which identity shortcuts follow, and `act`, which convolutions read.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seqconv.aggregation import DENSE, Pattern
from seqconv.architecture import Stage
from seqconv.layers.initialization import init_conv, init_linear
from seqconv.layers.seqconv import SeqConv2d
from seqconv.layers.streams import Streams


class Convolution(nn.Module):
    """3x3 convolution of the image or of the act stream, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.out_channels, self.stride = out_channels, stride
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        init_conv(self.conv)

    def forward(self, flow: Tensor | Streams) -> Streams:
        raw = self.conv(flow.act if isinstance(flow, Streams) else flow)
        return Streams(raw, torch.relu(self.norm(raw)))


class Head(nn.Module):
    """Dense SeqConv from the stem's channels to the first stage's width, in the first stage's groups and form."""

    stride = 1

    def __init__(self, in_channels: int, width: int, stage: Stage) -> None:
        super().__init__()
        self.out_channels = width
        self.layer = _seqconv(in_channels, width, stage, window=DENSE)

    def forward(self, streams: Streams) -> Streams:
        return self.layer.streams(streams.act)


class Block(nn.Module):
    """raw + f(act): two SeqConv layers, the second of which adds the raw stream before its batch norms."""

    stride = 1

    def __init__(self, width: int, stage: Stage, dropout: float) -> None:
        super().__init__()
        self.out_channels = width
        self.layer_a = _seqconv(width, width, stage, dropout=dropout)
        self.layer_b = _seqconv(width, width, stage, dropout=dropout, zero_init=True)

    def forward(self, streams: Streams) -> Streams:
        return self.layer_b.streams(self.layer_a(streams.act), streams.raw)


class Downsample(nn.Module):
    """Extension: SeqConv C -> C'-C with the old stage's groups. Shrinking: a grouped 3x3 of stride 2 over both."""

    stride = 2

    def __init__(self, narrow: int, wide: int, old: Stage, groups: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = wide
        self.extension = _seqconv(narrow, wide - narrow, old, dropout=dropout)
        self.shrinking = nn.Conv2d(wide, wide, 3, stride=2, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        init_conv(self.shrinking)

    def forward(self, streams: Streams) -> Streams:
        raw = self.shrinking(torch.cat([streams.act, self.extension(streams.act)], dim=1))
        return Streams(raw, torch.relu(self.norm(raw)))


class Blender(nn.Module):
    """Channel dropout, 1x1 convolution of the act stream, batch norm, ReLU: the features that are pooled."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.conv = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        init_conv(self.conv)

    def forward(self, streams: Streams) -> Tensor:
        return torch.relu(self.norm(self.conv(self.dropout(streams.act))))


class GlobalPool(nn.Module):
    """Average over all positions: (N, C, H, W) to (N, C)."""

    def forward(self, features_NCHW: Tensor) -> Tensor:
        return features_NCHW.mean((2, 3))


class Classifier(nn.Linear):
    """(N, C) features to (N, classes) logits."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width, classes)
        init_linear(self)


def _seqconv(
    in_channels: int, out_channels: int, stage: Stage, *, window: Pattern | None = None, **changes: Any
) -> SeqConv2d:
    return SeqConv2d(
        in_channels,
        out_channels,
        groups=stage.subgroups,
        group_width=stage.group_width,
        pattern=stage.window if window is None else window,
        form=stage.form,
        norm=True,
        activation=True,
        **changes,
    )
