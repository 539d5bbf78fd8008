"""Eq. 2 and Eq. 3 as they are written, step by step: the plan that every other one is tested against.

Slow, because every step convolves a freshly concatenated tensor that autograd then keeps; and the only plan that can
drop source channels with a fresh mask in each step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from seqconv.layers.operation import Operation, Parameters
from seqconv.layers.step_norm import StepNorm
from seqconv.layers.streams import Streams


def reference_streams(
    op: Operation, parameters: Parameters, x_NCHW: Tensor, shortcut_NCHW: Tensor | None, *, dropout: float = 0.0
) -> Streams:
    """x_i = F_i([x_j for the sources j of step i]), for i = 1 .. g one after the other.

    Args:
        op: what to compute.
        parameters: what to compute it with.
        x_NCHW: the input.
        shortcut_NCHW: added to the raw stream.
        dropout: probability that a source channel of a step is dropped.
    """

    def activated(r: Tensor, all_channels: StepNorm | None, channels: slice) -> Tensor:
        r = r if all_channels is None else all_channels.step(channels)(r)
        return F.relu(r) if op.activation else r

    layout, (reduce_weight, weight, all_bias, reduce_norm, norm) = op.layout, parameters
    x = {j: x_NCHW[:, layout.channels(layout.column(j))] for j in range(1 - layout.adjacency.in_groups, 1)}
    raw = {}
    for i, (sources, kernel) in enumerate(zip(layout.adjacency.sources, layout.steps, strict=True), start=1):
        mine = layout.outputs((i - 1, i))
        u = torch.cat([x[j] for j in sources], dim=1)
        u = F.dropout2d(u, dropout) if dropout > 0 else u
        bias = None if all_bias is None else all_bias[mine]
        if reduce_weight is None:
            r = op.convolution.forward(u, weight[:, kernel], bias)
        else:
            h = activated(F.conv2d(u, reduce_weight[:, kernel]), reduce_norm, mine)
            r = op.convolution.forward(h, weight[mine], bias)
        raw[i] = r if shortcut_NCHW is None else r + shortcut_NCHW[:, mine]
        x[i] = activated(raw[i], norm, mine)
    return Streams(torch.cat(list(raw.values()), dim=1), torch.cat([x[i] for i in raw], dim=1))
