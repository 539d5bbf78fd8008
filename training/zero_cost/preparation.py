"""What proxies do to a network before they look at it: its weights, how its layers run, its batch norms.

The networks' own initialisation makes every residual block the identity, with weights of zero through which no gradient
passes, so each proxy draws weights of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from seqconv.layers.seqconv import SeqConv2d
from seqconv.layers.streams import Streams
from seqconv.networks.modules import Block, GlobalPool
from seqconv.networks.network import Network


def weights(model: nn.Module) -> list[nn.Parameter]:
    """The kernels of convolutions and linear layers, which proxies sum over: no biases, nothing of batch norm."""
    return [parameter for parameter in model.parameters() if parameter.dim() > 1]


def he_normal(model: nn.Module) -> None:
    """N(0, 2 / fan in) for every convolution, each step of a SeqConv by itself (He et al., ICCV 2015, eq. 10)."""
    for kernel in _kernels(model):
        nn.init.normal_(kernel, std=math.sqrt(2 / kernel[0].numel()))
    _reset_others(model)


def standard_normal(model: nn.Module) -> None:
    """N(0, 1) for every convolution, as the Zen-score wants it."""
    for kernel in weights(model):
        nn.init.normal_(kernel)
    _reset_others(model)


def step_by_step(model: nn.Module) -> None:
    """Let every SeqConv compute through plain autograd: activations can be seen, gradients differentiated again."""
    for module in model.modules():
        if isinstance(module, SeqConv2d):
            module.plan = "reference"


def norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Every batch norm."""
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def without_norms(model: nn.Module) -> None:
    """Evaluation mode, in which every batch norm of a freshly initialised model is the identity."""
    model.eval()
    for norm in norms(model):
        assert norm.running_var is not None
        norm.running_var.fill_(1 - norm.eps)


def chain_of_features(model: nn.Module) -> nn.Module:
    """A `Network` up to its global pooling, without its residual links; any other module as it is."""
    if not isinstance(model, Network):
        return model
    parts = itertools.takewhile(lambda part: not isinstance(part, GlobalPool), model)
    return nn.Sequential(*(_Unlinked(part) if isinstance(part, Block) else part for part in parts))


class _Unlinked(nn.Module):
    """f(act) of a block that computes raw + f(act)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.layer_a, self.layer_b = block.layer_a, block.layer_b

    def forward(self, streams: Streams) -> Streams:
        return self.layer_b.streams(self.layer_a(streams.act))


def _kernels(model: nn.Module) -> Iterator[Tensor]:
    """The kernel of every single convolution, (out, in, ...); those that are packed in one parameter are views."""
    packed = {
        layer.weight if layer.reduce_weight is None else layer.reduce_weight: layer.layout
        for layer in model.modules()
        if isinstance(layer, SeqConv2d)
    }
    for parameter in weights(model):
        steps = packed[parameter].steps if parameter in packed else (slice(None),)
        yield from (parameter.detach()[:, step] for step in steps)


@torch.no_grad()
def _reset_others(model: nn.Module) -> None:
    """Fresh batch norms, zero biases."""
    reset = norms(model)
    for norm in reset:
        norm.reset_parameters()
    of_norms = {parameter for norm in reset for parameter in norm.parameters()}
    for module in model.modules():
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter) and bias not in of_norms:
            bias.zero_()
