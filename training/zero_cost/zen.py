"""The Zen-score: how far features of Gaussian noise move with the noise, had batch norm not scaled them.

Lin, Wang, Sun, Chen, Sun, Qian, Li, Jin, "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", ICCV 2021
(arXiv 2102.01063), algorithm 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.zero_cost.preparation import chain_of_features, norms

PERTURBATION = 0.01
"""alpha of the paper."""


def zen(model: nn.Module, images_NCHW: Tensor) -> float:
    """log E|f(x) - f(x + alpha e)| + sum over batch norms of log sqrt(mean over channels of the batch's variance).

    x and e are Gaussian noise, drawn from torch's global random numbers; | | is the Euclidean norm of an image's
    features. f is the model without residual links and without what follows the global pooling where it is a `Network`,
    and any other model as it is. All steps of a SeqConv share one batch norm, and so one term. The model's mode, the
    momentum of its batch norms and their running statistics change.

    Args:
        model: with weights drawn from N(0, 1).
        images_NCHW: say size, number and device alone.
    """
    features = chain_of_features(model).train()
    noise, change = (torch.randn(images_NCHW.shape).to(images_NCHW.device) for _ in range(2))
    layers = norms(features)
    for norm in layers:
        norm.momentum = 1.0  # so that a running variance is that of the last batch
    with torch.no_grad():
        before = features(noise)
        variances = [norm.running_var.double().mean().item() for norm in layers if norm.running_var is not None]
        after = features(noise + PERTURBATION * change)
    before, after = (flow if isinstance(flow, Tensor) else flow.act for flow in (before, after))
    moved = (before - after).double().flatten(1).norm(dim=1).mean().item()
    factors = [moved, *(math.sqrt(variance) for variance in variances)]
    return sum(map(math.log, factors)) if min(factors) > 0 else -math.inf
