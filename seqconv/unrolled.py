"""SeqConv layers as plain convolutions, concatenations and sums, for formats that know nothing else, such as ONNX.

Each step becomes modules of its own with its own weights, in evaluation mode; the plans of `SeqConv2d` compute the same
up to rounding. Nothing is to be trained in this form.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from seqconv.layers.operation import Convolution
from seqconv.layers.seqconv import SeqConv2d
from seqconv.layers.streams import Streams


def unroll(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode in which every `SeqConv2d` is an `Unrolled`; the module itself stays as it is."""
    return _unrolled(copy.deepcopy(module)).eval()


def _unrolled(module: nn.Module) -> nn.Module:
    if isinstance(module, SeqConv2d):
        return Unrolled(module)
    for name, child in module.named_children():
        setattr(module, name, _unrolled(child))
    return module


class Unrolled(nn.Module):
    """What a `SeqConv2d` computes in evaluation mode.

    Args:
        layer: whose weights are copied.
    """

    def __init__(self, layer: SeqConv2d) -> None:
        super().__init__()
        layout, op = layer.layout, layer.operation
        adjacency = layout.adjacency
        self.output, self.extends, self.shrinking = layer.output, layer.extends, layer.shrinking
        self.in_widths = [layout.width(column) for column in range(adjacency.in_groups)]
        self.group_width = layer.group_width
        self.sources = [[layout.column(group) for group in row] for row in adjacency.sources]
        self.steps, self.activated = nn.ModuleList(), nn.ModuleList()
        for i, kernel in enumerate(layout.steps):
            mine = layout.outputs((i, i + 1))
            bias = None if layer.bias is None else layer.bias[mine]
            if layer.reduce_weight is None:
                step: nn.Module = _conv(layer.weight[:, kernel], bias, op.convolution)
            else:
                reduce = _conv(layer.reduce_weight[:, kernel], None, Convolution())
                if layer.reduce_norm is not None:
                    reduce = fuse_conv_bn_eval(reduce, _norm(layer.reduce_norm, mine))
                own = _conv(layer.weight[mine], bias, op.convolution)
                step = nn.Sequential(reduce, _relu(op.activation), own)
            norm = nn.Identity() if layer.norm is None else _norm(layer.norm, mine)
            self.steps.append(step)
            self.activated.append(nn.Sequential(norm, _relu(op.activation)))

    def forward(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None = None) -> Tensor:
        """As that of the layer."""
        streams = self.streams(x_NCHW, shortcut_NCHW)
        return streams.raw if self.output == "raw" else streams.act

    def streams(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None = None) -> Streams:
        """As those of the layer."""
        if self.shrinking is None:
            return self._aggregate(x_NCHW, shortcut_NCHW)
        if self.extends:
            extension = self._aggregate(x_NCHW, None).act
            streams: Streams = self.shrinking(torch.cat([x_NCHW, extension], dim=1), shortcut_NCHW)
            return streams
        return self._aggregate(self.shrinking(x_NCHW).act, shortcut_NCHW)

    def _aggregate(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None) -> Streams:
        columns = list(torch.split(x_NCHW, self.in_widths, dim=1))
        shortcuts = None if shortcut_NCHW is None else torch.split(shortcut_NCHW, self.group_width, dim=1)
        raws: list[Tensor] = []
        for i, (step, activated, sources) in enumerate(zip(self.steps, self.activated, self.sources, strict=True)):
            raw = step(_joined([columns[column] for column in sources]))
            raws.append(raw if shortcuts is None else raw + shortcuts[i])
            columns.append(activated(raws[-1]))
        return Streams(_joined(raws), _joined(columns[len(self.in_widths) :]))


def _joined(parts_NCHW: list[Tensor]) -> Tensor:
    return parts_NCHW[0] if len(parts_NCHW) == 1 else torch.cat(parts_NCHW, dim=1)


def _relu(activation: bool) -> nn.Module:
    return nn.ReLU() if activation else nn.Identity()


def _conv(weight: Tensor, bias: Tensor | None, geometry: Convolution) -> nn.Conv2d:
    channels, kernel_size = (weight.shape[1] * geometry.groups, weight.shape[0]), tuple(weight.shape[2:])
    conv = nn.Conv2d(*channels, kernel_size, *geometry, bias=bias is not None, device="meta")  # type: ignore[arg-type]
    conv.weight = nn.Parameter(weight.detach().clone())
    conv.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    return conv.eval()


def _norm(norm: nn.BatchNorm2d, channels: slice) -> nn.BatchNorm2d:
    """That of some of the channels."""
    part = nn.BatchNorm2d(channels.stop - channels.start, eps=norm.eps, device="meta")
    state = {name: (value[channels] if value.dim() else value).clone() for name, value in norm.state_dict().items()}
    part.load_state_dict(state, assign=True)
    return part.eval()
