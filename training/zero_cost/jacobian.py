"""Correlation of the Jacobians of different images.

Mellor, Turner, Storkey, Crowley, "Neural Architecture Search without Training", first version of 2020
(arXiv 2006.04647v1); named jacob_cov by Abdelfattah et al. 2021 (arXiv 2101.08134).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

STABILISER = 1e-5
"""k of the paper, added to every eigenvalue."""


def jacob_cov(model: nn.Module, images_NCHW: Tensor) -> float:
    """-sum over i of log(e_i + k) + 1 / (e_i + k), e the eigenvalues of the correlation matrix of the Jacobians.

    The Jacobian of an image is the gradient of the sum of the batch's logits with respect to it. Batch norm takes the
    batch's statistics. Minus infinity where an image has no gradient. The model's mode changes, its weights do not.
    """
    images = images_NCHW.detach().requires_grad_()
    (jacobians,) = torch.autograd.grad(model.train()(images).sum(), images)
    correlation = torch.corrcoef(jacobians.flatten(1).double())
    if not correlation.isfinite().all():
        return -math.inf
    shifted = torch.linalg.eigvalsh(correlation) + STABILISER
    return float(-(shifted.log() + 1 / shifted).sum())
