"""Eq. 2 and Eq. 3 as they are written, step by step: the plan that every other one is tested against.

Slow, because every step convolves a freshly concatenated tensor that autograd then keeps; and the only plan that can
drop source channels with a fresh mask in each step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from seqconv.layers.step_norm import StepNorm
from seqconv.layers.streams import Streams

if TYPE_CHECKING:
    from seqconv.layers.seqconv import SeqConv2d


def reference_streams(
    layer: SeqConv2d, x_NCHW: Tensor, shortcut_NCHW: Tensor | None, reduce_norm: StepNorm | None, norm: StepNorm | None
) -> Streams:
    """x_i = F_i([x_j for the sources j of step i]), for i = 1 .. g one after the other."""

    def activated(r: Tensor, all_channels: StepNorm | None, channels: slice) -> Tensor:
        r = r if all_channels is None else all_channels.step(channels)(r)
        return F.relu(r) if layer.activation else r

    k, geometry = layer.group_width, (layer.stride, layer.padding, layer.dilation)
    x = {j: x_NCHW[:, layer.layout.channels(layer.layout.column(j))] for j in range(1 - layer.in_groups, 1)}
    raw = {}
    for i, (sources, kernel) in enumerate(zip(layer.adjacency.sources, layer.layout.steps, strict=True), start=1):
        mine = slice((i - 1) * k, i * k)
        u = F.dropout2d(torch.cat([x[j] for j in sources], dim=1), layer.dropout, layer.training)
        bias = None if layer.bias is None else layer.bias[mine]
        if layer.reduce_weight is None:
            r = F.conv2d(u, layer.weight[:, kernel], bias, *geometry)
        else:
            h = activated(F.conv2d(u, layer.reduce_weight[:, kernel]), reduce_norm, mine)
            r = F.conv2d(h, layer.weight[mine], bias, *geometry, layer.groups)
        raw[i] = r if shortcut_NCHW is None else r + shortcut_NCHW[:, mine]
        x[i] = activated(raw[i], norm, mine)
    return Streams(torch.cat(list(raw.values()), dim=1), torch.cat([x[i] for i in raw], dim=1))
