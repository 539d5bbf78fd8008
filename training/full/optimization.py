"""Optimizer, learning rate and averaged weights of a recipe."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training import schedule

if TYPE_CHECKING:
    from training.full.recipe import Recipe


def optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD whose learning rate is set in each step, see `learning_rate`."""
    return torch.optim.SGD(
        parameter_groups(model, recipe),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=True,
    )


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """All parameters, and apart from them, unless `recipe.decay_norms`, those that no weight decay is to shrink.

    These are the vectors and scalars: biases, and the weights of norms.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.decay_norms:
        return [{"params": parameters, "weight_decay": recipe.weight_decay}]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate(recipe: Recipe, step: int, *, steps: int) -> float:
    """The learning rate of optimizer step `step` (0-based) of the `steps` of the whole training."""
    warmup = recipe.warmup_epochs / recipe.epochs
    if recipe.schedule != "step":
        return recipe.learning_rate * schedule.factor(recipe.schedule, step, steps=steps, warmup=warmup)
    passed = sum(step >= round(milestone * steps) for milestone in recipe.milestones)
    position = (step + 0.5) / steps
    rising = position / warmup if position < warmup else 1.0
    return recipe.learning_rate * rising * recipe.gamma**passed


def ema_decay(decay: float, step: int) -> float:
    """What the average keeps of itself after optimizer step `step` (0-based).

    Less in the first steps, so that the initial weights are soon forgotten.
    """
    return min(decay, (1 + step) / (10 + step))


class Average:
    """Exponential moving average of the weights and of batch norm's statistics.

    `torch.optim.swa_utils.AveragedModel` makes the host wait for a GPU in every step; its arithmetic is used here.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model)
        own, followed = (list(m.parameters()) + list(m.buffers()) for m in (self.model, model))
        floating = [tensor.is_floating_point() for tensor in own]
        self._own = [tensor.detach() for tensor, is_float in zip(own, floating, strict=True) if is_float]
        self._followed = [tensor.detach() for tensor, is_float in zip(followed, floating, strict=True) if is_float]
        self._counts = [pair for *pair, is_float in zip(own, followed, floating, strict=True) if not is_float]

    def update(self, step: int) -> None:
        """Move towards the weights as they are after optimizer step `step` (0-based)."""
        average = get_ema_multi_avg_fn(ema_decay(self.decay, step))  # type: ignore[no-untyped-call]
        average(self._own, self._followed, step)

    def network(self) -> nn.Module:
        """The network with the averaged weights; its integer buffers, such as counts of batches, are as followed."""
        for own, followed in self._counts:
            own.copy_(followed)
        return self.model
