"""Synaptic flow: how much passes from the input through the absolute weights to the output.

Tanaka, Kunin, Yamins, Ganguli, "Pruning neural networks without any data by iteratively conserving synaptic flow",
NeurIPS 2020 (arXiv 2006.05467); summed to a proxy, without batch norm, by Abdelfattah et al. 2021 (arXiv 2101.08134).

R grows exponentially with depth, and past float64 in the larger presets. Without norms and biases a network is linear
in what one part hands to the next, so that these values can be divided by powers of two, and the result multiplied.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn

from seqconv.layers.streams import Streams
from seqconv.networks.network import Network
from training.zero_cost.preparation import weights, without_norms


def synflow(model: nn.Module, image_CHW: Tensor) -> float:
    """log of the sum over the weights of |w| * dR/d|w|, where R is the sum of the logits of an image of ones.

    The model is changed: float64, absolute weights, no norms.

    Args:
        model: freshly initialised, with biases of zero. One that is no `Network` is not kept from overflowing.
        image_CHW: says the size alone.
    """
    without_norms(model.double())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    exponents: list[int] = []
    for part in model if isinstance(model, Network) else ():
        part.register_forward_hook(functools.partial(_rescale, exponents))
    ones = torch.ones(1, *image_CHW.shape, dtype=torch.float64, device=image_CHW.device)
    flow = model(ones).sum()
    gradients = torch.autograd.grad(flow, weights(model), materialize_grads=True)
    total = sum((w * g).sum().item() for w, g in zip(weights(model), gradients, strict=True))
    return math.log(total) + sum(exponents) * math.log(2) if total > 0 else -math.inf


def _rescale(exponents: list[int], part: nn.Module, inputs: Any, flow: Tensor | Streams) -> Tensor | Streams:
    """Bring the largest value of what a part hands on to between 0.5 and 1, and note by which power of two."""
    exponent = math.frexp((flow if isinstance(flow, Tensor) else flow.act).max().item())[1]
    exponents.append(exponent)
    factor = math.ldexp(1.0, -exponent)
    return flow * factor if isinstance(flow, Tensor) else Streams(flow.raw * factor, flow.act * factor)
