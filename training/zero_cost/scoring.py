"""One score of one network by any of the proxies; higher is predicted to train better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqconv import validation
from seqconv.architecture import Architecture
from seqconv.complexity import Complexity, measure, measure_module
from seqconv.networks.build import build
from training.data import Split, stratified_order
from training.device import seeded
from training.zero_cost.activations import fisher, naswot
from training.zero_cost.gradients import grad_norm, grasp, snip, zico
from training.zero_cost.jacobian import jacob_cov
from training.zero_cost.names import FEWEST_IMAGES, PROXIES
from training.zero_cost.preparation import he_normal, standard_normal
from training.zero_cost.synflow import synflow
from training.zero_cost.zen import zen

Source = Architecture | Callable[[], nn.Module]
"""What is scored: an architecture, or what makes a model that maps images to (N, classes) logits."""


class Batch(NamedTuple):
    """What a proxy looks at."""

    images_NCHW: Tensor
    """Normalised, square, floating point."""
    labels: Tensor
    """(N), int64."""


def training_batch(split: Split, images: int, *, seed: int) -> Batch:
    """Some normalised training images, in the proportions of the classes, on the CPU.

    Args:
        split: where they come from.
        images: how many, or all where there are fewer.
        seed: of the choice.
    """
    chosen = stratified_order(split.train_labels, seed=seed)[:images]
    mean, std = (torch.tensor(values)[:, None, None] for values in (split.mean, split.std))
    images_NCHW = torch.tensor(split.train_images[chosen]).float() / 255
    return Batch((images_NCHW - mean) / std, torch.tensor(split.train_labels[chosen]))


def score(name: str, network: Source, batch: Batch, *, classes: int, seed: int) -> float:
    """The score of a freshly initialised network, on the device of the batch.

    A function of its arguments alone: torch's global random numbers are left as they were.

    Args:
        name: one of `names.PROXIES`.
        network: what is scored.
        batch: at least `names.FEWEST_IMAGES` images. All proxies but snip, grasp, fisher, grad_norm and zico look at no
            labels; synflow, zen, params and macs at nothing but the size of the images.
        classes: number of logits of an architecture.
        seed: of the weights, and of the noise that zen looks at.

    Returns:
        The score; minus infinity, which ranks last, where a proxy overflows or is undefined.

    Raises:
        ValueError: an unknown name, or a batch of the wrong shape, type or size, or with labels outside the classes.
    """
    validation.one_of("proxy", name, PROXIES)
    validation.integer("classes", classes)
    validation.integer("seed", seed, low=0)
    _check(batch, classes)
    if name in _COSTS:
        return float(_COSTS[name](_complexity(network, batch.images_NCHW, classes)))
    place = batch.images_NCHW.device
    with seeded(seed, place), torch.enable_grad():
        model = build(network, classes=classes) if isinstance(network, Architecture) else network()
        (standard_normal if name == "zen" else he_normal)(model)
        value = _MEASURES[name](model.to(place), batch)
    return value if math.isfinite(value) else -math.inf


_COSTS: Mapping[str, Callable[[Complexity], int]] = {"params": lambda cost: cost.params, "macs": lambda cost: cost.macs}
_MEASURES: Mapping[str, Callable[[nn.Module, Batch], float]] = {
    "synflow": lambda model, batch: synflow(model, batch.images_NCHW[0]),
    "snip": lambda model, batch: snip(model, *batch),
    "grasp": lambda model, batch: grasp(model, *batch),
    "fisher": lambda model, batch: fisher(model, *batch),
    "jacob_cov": lambda model, batch: jacob_cov(model, batch.images_NCHW),
    "naswot": lambda model, batch: naswot(model, batch.images_NCHW),
    "grad_norm": lambda model, batch: grad_norm(model, *batch),
    "zen": lambda model, batch: zen(model, batch.images_NCHW),
    "zico": lambda model, batch: zico(model, *batch),
}


def _complexity(network: Source, images_NCHW: Tensor, classes: int) -> Complexity:
    if isinstance(network, Architecture):
        return measure(network, resolution=images_NCHW.shape[-1], classes=classes)
    return measure_module(network(), images_NCHW.shape[1:])


def _check(batch: Batch, classes: int) -> None:
    images, labels = batch
    if images.dim() != 4 or images.shape[2] != images.shape[3] or not images.is_floating_point():
        raise ValueError(f"images must be square, (N, C, H, H) and floating point, got {_described(images)}")
    if len(images) < FEWEST_IMAGES:
        raise ValueError(f"a batch must have at least {FEWEST_IMAGES} images, got {len(images)}")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, one for each of {len(images)} images, got {_described(labels)}")
    if labels.min() < 0 or labels.max() >= classes:
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"labels must be from 0 to {classes - 1} for {classes} classes, got {found}")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
