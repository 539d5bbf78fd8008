"""Proxies that sum over the gradients of the loss with respect to the weights.

Each takes a model, (N, C, H, W) images and N labels. Batch norm takes the batch's statistics, as in the first step of
training; the loss is the mean cross entropy. The model's mode and plans change, its weights do not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.zero_cost.preparation import step_by_step, weights


def grad_norm(model: nn.Module, images_NCHW: Tensor, labels: Tensor) -> float:
    """Sum over the weight tensors of the Euclidean norm of their gradient.

    Abdelfattah, Mehrotra, Dudziak, Lane, "Zero-Cost Proxies for Lightweight NAS", ICLR 2021 (arXiv 2101.08134).
    """
    return sum(float(gradient.double().norm()) for gradient in _gradients(model, images_NCHW, labels))


def snip(model: nn.Module, images_NCHW: Tensor, labels: Tensor) -> float:
    """Sum over the weights of |dL/dc| for a factor c = 1 on each weight, which is |w * dL/dw|.

    Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019
    (arXiv 1810.02340); summed to a proxy by Abdelfattah et al. 2021.
    """
    gradients = _gradients(model, images_NCHW, labels)
    return sum((w * g).abs().double().sum().item() for w, g in zip(weights(model), gradients, strict=True))


def grasp(model: nn.Module, images_NCHW: Tensor, labels: Tensor) -> float:
    """Sum over the weights of -w * (H g), H the Hessian of the loss and g its gradient, with respect to all weights.

    Wang, Zhang, Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020
    (arXiv 2002.07376), at temperature 1; summed to a proxy by Abdelfattah et al. 2021.
    """
    step_by_step(model)
    gradients = _gradients(model, images_NCHW, labels, create_graph=True)
    squared = torch.stack([(gradient.detach() * gradient).sum() for gradient in gradients]).sum()
    products = torch.autograd.grad(squared, weights(model), materialize_grads=True)
    return -sum((w * hg).double().sum().item() for w, hg in zip(weights(model), products, strict=True))


def zico(model: nn.Module, images_NCHW: Tensor, labels: Tensor) -> float:
    """Sum over the weight tensors of log(sum over their weights of mean / deviation of |dL/dw|) between half batches.

    Li, Yang, Bhardwaj, Marculescu, "ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients", ICLR 2023
    (arXiv 2301.11300), which takes two batches too. Weights whose gradients do not differ are left out.
    """
    halves = zip(images_NCHW.chunk(2), labels.chunk(2), strict=True)
    by_half = [_gradients(model, *half) for half in halves]
    total = 0.0
    for of_weight in zip(*by_half, strict=True):
        deviation, mean = torch.std_mean(torch.stack(of_weight).double().abs(), dim=0, correction=0)
        ratios = (mean / deviation)[deviation != 0].sum().item()
        total += 0.0 if ratios == 0 else math.log(ratios)
    return total


def _gradients(
    model: nn.Module, images_NCHW: Tensor, labels: Tensor, *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Of the mean cross entropy with respect to each of `weights`."""
    loss = F.cross_entropy(model.train()(images_NCHW), labels)
    return torch.autograd.grad(loss, weights(model), create_graph=create_graph, materialize_grads=True)
