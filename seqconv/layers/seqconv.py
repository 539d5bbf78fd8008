"""Sequentially aggregated convolution: a wide convolution computed as g groups of k channels, one after the other.

Paper: Huang, Ou, Wu, Feng, "Sequentially Aggregated Convolutional Networks", ICCV Workshops 2019 (arXiv 1811.10798).
Step i convolves the last g' groups before it, among the inputs and the earlier outputs (Eq. 3), or all of them (Eq. 2).
Parameters are held per step, so that an execution plan can change without touching a state_dict.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqconv import aggregation, validation
from seqconv.aggregation import DENSE, Window
from seqconv.architecture import FORMS
from seqconv.layers.initialization import init_conv


class SeqConv2d(nn.Module):
    """3x3 SeqConv with batch norm and ReLU in every step.

    Input and output are (N, C, H, W); height and width stay. Returns `(raw, act)`: `raw` holds the groups before batch
    norm, the stream that identity shortcuts follow; `act` the activated groups, which convolutions read.

    Args:
        in_channels: C_in. Whole groups unless the window is dense, which reads the input as one piece.
        out_channels: C_out = g * group_width.
        group_width: k, channels of a group.
        window: g', see `seqconv.aggregation.Window`.
        form: "plain" (3x3) or "bottleneck" (1x1 to k, batch norm, ReLU, 3x3).
        subgroups: S, groups of the bottleneck's 3x3.
        dropout: probability that a source channel of a step is dropped, with a fresh mask in each step.
        zero_init: start with r_i = 0, so that a block that ends in this layer is the identity on `raw`.

    Raises:
        ValueError: channels that do not split into whole groups, or an unknown form.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        group_width: int,
        window: Window = DENSE,
        form: str = "plain",
        subgroups: int = 1,
        dropout: float = 0.0,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        validation.one_of("form", form, FORMS)
        in_groups = _groups("in_channels", in_channels, group_width, whole=window != DENSE)
        out_groups = _groups("out_channels", out_channels, group_width, whole=True)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.group_width, self.in_groups, self.out_groups = group_width, in_groups, out_groups
        self.width = aggregation.canonical_width(window.resolve(in_groups), in_groups, out_groups)
        self.dropout = dropout
        step_type: type[PlainStep] | type[BottleneckStep] = PlainStep if form == "plain" else BottleneckStep
        self._step_depth = step_type.serial_depth
        self.steps = nn.ModuleList(
            step_type(self._source_channels(step), group_width, subgroups=subgroups, zero_init=zero_init)
            for step in range(1, out_groups + 1)
        )

    def sources(self, step: int) -> range:
        """Groups that `step` (1-based) reads; 0 is the newest input group."""
        return aggregation.sources(step, self.in_groups, self.width)

    @property
    def serial_depth(self) -> int:
        """Convolutions on the longest chain in which each must wait for the one before."""
        return self._step_depth * aggregation.serial_depth(self.in_groups, self.out_groups, self.width)

    @property
    def unread_groups(self) -> int:
        """Input groups that no step reads."""
        return aggregation.unread_groups(self.in_groups, self.width)

    def forward(self, act_NCHW: Tensor, shortcut_NCHW: Tensor | None = None) -> tuple[Tensor, Tensor]:
        _check_channels("input", act_NCHW, self.in_channels)
        shortcuts: Sequence[Tensor | None] = [None] * self.out_groups
        if shortcut_NCHW is not None:
            _check_channels("shortcut", shortcut_NCHW, self.out_channels)
            shortcuts = torch.split(shortcut_NCHW, self.group_width, dim=1)
        raws: list[Tensor] = []
        acts: list[Tensor] = []
        for step, (module, shortcut) in enumerate(zip(self.steps, shortcuts, strict=True), start=1):
            sources = self._gather(step, act_NCHW, acts)
            if self.dropout:
                sources = F.dropout2d(sources, self.dropout, self.training)
            raw, act = module(sources, shortcut)
            raws.append(raw)
            acts.append(act)
        return torch.cat(raws, dim=1), torch.cat(acts, dim=1)

    def _source_channels(self, step: int) -> int:
        first = self.sources(step)[0]
        from_input = self.in_channels - self._first_channel(first) if first <= 0 else 0
        return from_input + (step - max(first, 1)) * self.group_width

    def _first_channel(self, group: int) -> int:
        """Where an input group starts; the oldest one a dense layer reads starts at 0 even where it is not whole."""
        return 0 if self.width is None else (group + self.in_groups - 1) * self.group_width

    def _gather(self, step: int, act_NCHW: Tensor, earlier: list[Tensor]) -> Tensor:
        first = self.sources(step)[0]
        if first > 0:
            tensors = earlier[first - 1 :]
        else:
            start = self._first_channel(first)
            tensors = [act_NCHW.narrow(1, start, self.in_channels - start), *earlier]
        return torch.cat(tensors, dim=1) if len(tensors) > 1 else tensors[0]

    def extra_repr(self) -> str:
        width = "dense" if self.width is None else self.width
        return f"{self.in_channels}, {self.out_channels}, group_width={self.group_width}, window={width}"


class PlainStep(nn.Module):
    """r = conv3x3(u) (+ shortcut); a = ReLU(BN(r)). (N, C_u, H, W) to two of (N, k, H, W)."""

    serial_depth = 1

    def __init__(self, in_channels: int, group_width: int, *, subgroups: int, zero_init: bool) -> None:
        super().__init__()
        if subgroups != 1:
            raise ValueError(f"subgroups above 1 need form bottleneck, got {subgroups}")
        self.conv = nn.Conv2d(in_channels, group_width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(group_width)
        init_conv(self.conv, zero=zero_init)

    def forward(self, sources_NCHW: Tensor, shortcut_NCHW: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = self.conv(sources_NCHW)
        if shortcut_NCHW is not None:
            raw = raw + shortcut_NCHW
        return raw, F.relu(self.norm(raw))


class BottleneckStep(nn.Module):
    """r = conv3x3(ReLU(BN(conv1x1(u)))) (+ shortcut); a = ReLU(BN(r)). The 3x3 has S subgroups."""

    serial_depth = 2

    def __init__(self, in_channels: int, group_width: int, *, subgroups: int, zero_init: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, group_width, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(group_width)
        self.conv = nn.Conv2d(group_width, group_width, 3, padding=1, groups=subgroups, bias=False)
        self.norm = nn.BatchNorm2d(group_width)
        init_conv(self.reduce)
        init_conv(self.conv, zero=zero_init)

    def forward(self, sources_NCHW: Tensor, shortcut_NCHW: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = self.conv(F.relu(self.reduce_norm(self.reduce(sources_NCHW))))
        if shortcut_NCHW is not None:
            raw = raw + shortcut_NCHW
        return raw, F.relu(self.norm(raw))


def _check_channels(name: str, tensor_NCHW: Tensor, channels: int) -> None:
    if tensor_NCHW.dim() != 4 or tensor_NCHW.shape[1] != channels:
        raise ValueError(f"{name} must be (N, {channels}, H, W), got shape {tuple(tensor_NCHW.shape)}")


def _groups(name: str, channels: int, group_width: int, *, whole: bool) -> int:
    validation.integer("group_width", group_width)
    validation.integer(name, channels)
    if whole and channels % group_width:
        raise ValueError(f"{name} must be a multiple of group_width {group_width}, got {channels}")
    return -(-channels // group_width)
