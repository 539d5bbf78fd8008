"""Weight initialisation of the paper's networks (Huang et al. 2019, arXiv 1811.10798)."""

import math

from torch import nn


def init_conv(conv: nn.Conv2d, *, zero: bool = False) -> None:
    """U(+-sqrt(6 / fan_out)) with fan_out = C_out * kh * kw, not divided by groups; or all zero. Biases are zero."""
    bound = 0.0 if zero else math.sqrt(6 / (conv.out_channels * math.prod(conv.kernel_size)))
    nn.init.uniform_(conv.weight, -bound, bound)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def init_linear(linear: nn.Linear) -> None:
    """U(+-sqrt(3 / classes)), zero bias."""
    bound = math.sqrt(3 / linear.out_features)
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.zeros_(linear.bias)
