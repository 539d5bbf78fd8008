"""The parallel twin of a SeqConv layer: what a network without sequential aggregation has in its place.

Form plain: 3x3, batch norm, ReLU. Form bottleneck: 1x1, batch norm, ReLU, 3x3 in as many groups as the layer has,
batch norm, ReLU. A twin has exactly the layer's parameters and multiply-adds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seqconv.layers.seqconv import SeqConv2d
from seqconv.layers.streams import Streams


class Twin(nn.Module):
    """Takes the place of a layer in a network: (N, C_in, H, W) to (N, C_out, H, W).

    The steps of a layer read R / g channels on average, and that many the twin's first convolution reads. With w = G
    they are the input's. A layer that reads its own outputs beyond that (a dense one) has more weights than its input
    has channels for: its twin reads the input repeatedly, which costs a concatenation. A narrower window's twin reads
    the newest channels. ReLUs are in place, as torchvision and timm write them.

    Args:
        layer: with norm and activation, without stride and dropout.

    Raises:
        ValueError: another layer, or one whose mean number of source channels is not whole.
    """

    def __init__(self, layer: SeqConv2d) -> None:
        super().__init__()
        if layer.norm is None or not layer.activation or layer.dropout:
            raise ValueError(f"a twin needs a layer with norm and activation and without dropout, got {layer}")
        if layer.shrinking is not None or layer.stride != (1, 1):
            raise ValueError(f"a twin needs a layer without stride, got {layer}")
        self.reads = _mean_source_channels(layer)
        c_out, k = layer.out_channels, layer.group_width
        same: dict[str, Any] = {"padding": layer.padding, "dilation": layer.dilation, "bias": layer.bias is not None}
        self.reduce: nn.Sequential | None = None
        if layer.form == "bottleneck":
            reduce = nn.Conv2d(self.reads, c_out, 1, bias=False)
            self.reduce = nn.Sequential(reduce, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))
            self.conv = nn.Conv2d(c_out, c_out, layer.kernel_size, groups=c_out // k * layer.groups, **same)
        else:
            self.conv = nn.Conv2d(self.reads, c_out, layer.kernel_size, **same)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None = None) -> Tensor:
        return self.streams(x_NCHW, shortcut_NCHW).act

    def streams(self, x_NCHW: Tensor, shortcut_NCHW: Tensor | None = None) -> Streams:
        """As the layer's: before norm and activation, and behind them."""
        h = self._sources(x_NCHW)
        r = self.conv(h if self.reduce is None else self.reduce(h))
        if shortcut_NCHW is not None:
            r = r + shortcut_NCHW
        return Streams(r, self.norm(r).relu_())

    def _sources(self, x_NCHW: Tensor) -> Tensor:
        channels = x_NCHW.shape[1]
        if self.reads <= channels:
            return x_NCHW[:, channels - self.reads :]
        times, rest = divmod(self.reads, channels)
        return torch.cat([x_NCHW] * times + [x_NCHW[:, :rest]], dim=1)


def with_twins(network: nn.Module) -> nn.Module:
    """The network itself, with a twin in the place of every SeqConv layer."""
    for name, module in list(network.named_modules()):
        if isinstance(module, SeqConv2d):
            parent, _, attribute = name.rpartition(".")
            setattr(network.get_submodule(parent), attribute, Twin(module))
    return network


def _mean_source_channels(layer: SeqConv2d) -> int:
    packed = layer.weight if layer.reduce_weight is None else layer.reduce_weight
    mean, rest = divmod(packed.shape[1], layer.out_groups)
    if rest:
        raise ValueError(
            f"a twin needs steps that read a whole number of channels on average, got {packed.shape[1]} channels "
            f"in {layer.out_groups} steps"
        )
    return mean
