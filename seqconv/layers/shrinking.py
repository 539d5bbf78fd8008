"""The strided convolution beside a SeqConv layer: the second half of the paper's downsampling (Huang et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from seqconv.layers.initialization import init_conv
from seqconv.layers.streams import Streams


class Shrinking(nn.Module):
    """A convolution, and where asked for a shortcut, batch norm and ReLU: (N, C, H, W) to two of (N, C', H', W')."""

    def __init__(self, conv: nn.Conv2d, *, norm: nn.BatchNorm2d | None, activation: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.activation = conv, norm, activation

    def forward(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None = None) -> Streams:
        raw = self.conv(x_NCHW)
        if shortcut_NCHW is not None:
            raw = raw + shortcut_NCHW
        act = raw if self.norm is None else self.norm(raw)
        return Streams(raw, F.relu(act) if self.activation else act)

    def reset_parameters(self, *, zero: bool = False) -> None:
        """Weights as in the paper, or zero; a fresh batch norm."""
        init_conv(self.conv, zero=zero)
        if self.norm is not None:
            self.norm.reset_parameters()
