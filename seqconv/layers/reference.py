"""Eq. 2 and Eq. 3 as they are written, group by group: slow, and obvious enough to test the layer against."""

from __future__ import annotations

import torch
from torch import Tensor

from seqconv.layers.seqconv import SeqConv2d


def reference_forward(
    layer: SeqConv2d, act_NCHW: Tensor, shortcut_NCHW: Tensor | None = None, *, width: int | None
) -> tuple[Tensor, Tensor]:
    """`layer(act, shortcut)` without dropout, with the weights of `layer`: x_i = F_i([x_{i-g'}, ..., x_{i-1}]).

    Args:
        layer: holds the weights; its own choice of sources is not used.
        width: g' in groups, or None for dense. Needs an input of whole groups.
    """
    k, in_groups = layer.group_width, act_NCHW.shape[1] // layer.group_width
    x = {group - in_groups + 1: act_NCHW[:, group * k : (group + 1) * k] for group in range(in_groups)}
    raw = {}
    for i, step in enumerate(layer.steps, start=1):
        sources = [x[j] for j in sorted(x) if width is None or i - width <= j <= i - 1]
        residual = None if shortcut_NCHW is None else shortcut_NCHW[:, (i - 1) * k : i * k]
        raw[i], x[i] = step(torch.cat(sources, dim=1), residual)
    return torch.cat(list(raw.values()), dim=1), torch.cat([x[i] for i in raw], dim=1)
