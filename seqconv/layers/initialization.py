"""Weight initialisation of the paper's networks (Huang et al. 2019, arXiv 1811.10798)."""

import math

from torch import Tensor, nn


def init_weight(weight: Tensor, out_channels: int, *, zero: bool = False) -> None:
    """U(+-sqrt(6 / fan_out)) with fan_out = out_channels * kh * kw, not divided by groups; or all zero.

    Args:
        weight: a convolution's kernel (.., .., kh, kw).
        out_channels: channels that one convolution of this kernel emits.
    """
    bound = 0.0 if zero else math.sqrt(6 / (out_channels * math.prod(weight.shape[2:])))
    nn.init.uniform_(weight, -bound, bound)


def init_conv(conv: nn.Conv2d, *, zero: bool = False) -> None:
    """`init_weight`, and a zero bias."""
    init_weight(conv.weight, conv.out_channels, zero=zero)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def init_linear(linear: nn.Linear) -> None:
    """U(+-sqrt(3 / classes)), zero bias."""
    bound = math.sqrt(3 / linear.out_features)
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.zeros_(linear.bias)
