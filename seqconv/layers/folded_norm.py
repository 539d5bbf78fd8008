"""Batch norm of few channels in channels_last, computed as if several pixels were one pixel of more channels.

torch's CPU kernels go through such a tensor one pixel at a time, and fill a vector register only where a pixel has as
many channels as that holds: 8 channels cost twice to three times as much for each value as 128. The memory of (M, C)
is also that of (M / f, f C); statistics of the folded channels give those of the real ones exactly (Chan et al., 1979,
"Updating formulae and a pairwise algorithm for computing sample variances").

Shape suffixes: N batch, C channels, H height, W width, F folded channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WIDTH = 128
"""Folded channels."""
MIN_VALUES = 1 << 18
"""Of a tensor for which folding wins more than its dozen of small operations cost."""


def folds(x_NCHW: Tensor, weight: Tensor) -> bool:
    """Whether folding a tensor that is to be normalised with that weight is possible and wins time."""
    channels, values = x_NCHW.shape[1], x_NCHW.numel()
    return (
        x_NCHW.device.type == "cpu"
        and x_NCHW.dtype == weight.dtype
        and channels <= WIDTH // 8
        and values >= MIN_VALUES
        and WIDTH % channels == 0
        and values % WIDTH == 0
        and x_NCHW.is_contiguous(memory_format=torch.channels_last)
    )


def mean_and_variance(x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel over the batch; the variance is the biased one, which normalises."""
    folded = torch.batch_norm_update_stats(_folded(x_NCHW), None, None, 0.0)
    means, variances = (values.view(-1, x_NCHW.shape[1]) for values in folded)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def backward(
    d_NCHW: Tensor, x_NCHW: Tensor, weight: Tensor, mean: Tensor, inverse_deviation: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to x, the weight and the bias of batch norm in training."""
    d_F, x_F = _folded(d_NCHW), _folded(x_NCHW)
    count, folding = x_NCHW.numel() // x_NCHW.shape[1], WIDTH // x_NCHW.shape[1]
    known = (mean.repeat(folding), (inverse_deviation.pow(-2) - eps).repeat(folding))
    _, *sums = torch.ops.aten.native_batch_norm_backward(
        d_F, x_F, None, *known, None, None, False, eps, (False, True, True)
    )
    d_weight, d_bias = (values.view(folding, -1).sum(0) for values in sums)
    scale = weight * inverse_deviation
    slope = -scale * inverse_deviation * d_weight / count
    shift = -slope * mean - scale * d_bias / count
    scale, slope, shift = (values.repeat(folding)[:, None, None] for values in (scale, slope, shift))
    d_x = torch.addcmul(shift, x_F, slope).addcmul_(d_F, scale)
    return _unfolded(d_x, x_NCHW.shape), d_weight, d_bias


def _folded(x_NCHW: Tensor) -> Tensor:
    """The same memory as one image of one column and `WIDTH` channels."""
    return x_NCHW.permute(0, 2, 3, 1).reshape(1, -1, 1, WIDTH).permute(0, 3, 1, 2)


def _unfolded(x_F: Tensor, shape: Sequence[int]) -> Tensor:
    images, channels, height, width = shape
    return x_F.permute(0, 2, 3, 1).reshape(images, height, width, channels).permute(0, 3, 1, 2)
