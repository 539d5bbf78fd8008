"""Loss and error on the test images over all processes, and batch norm's statistics measured before."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from training.full import processes

Autocast = Callable[[], AbstractContextManager[Any]]


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    autocast: Autocast,
    place: torch.device,
    world: int,
    between: Callable[[], None],
) -> tuple[float, float]:
    """Mean cross entropy and share of wrong answers over the images of all processes.

    Args:
        model: left in evaluation mode.
        batches: this process's images and labels.
        autocast: makes the context in which the network runs.
        place: where the images are.
        world: number of processes.
        between: called after each batch.
    """
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=place)
    images_seen = 0
    for images, labels in batches:
        with autocast():
            logits = model(images)
            loss = F.cross_entropy(logits, labels, reduction="sum")
        sums += torch.stack([loss, (logits.argmax(1) != labels).sum()])
        images_seen += len(labels)
        between()
    counted = torch.cat([sums, sums.new_tensor([images_seen])])
    loss_sum, wrong, count = processes.total(counted, world).tolist()
    return loss_sum / count, wrong / count


@torch.no_grad()
def with_measured_norms(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, autocast: Autocast, world: int
) -> nn.Module:
    """A copy whose batch norms have, instead of running averages, the means over `batches` of all processes.

    See Wu and Johnson, 2021, "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576).
    """
    model = copy.deepcopy(model).eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the plain mean
    for images, _ in batches:
        with autocast():
            model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    processes.average_buffers(model, world)
    return model.eval()
