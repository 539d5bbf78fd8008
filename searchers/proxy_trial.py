"""What one trial does in its worker: measurements, and training on the proxy task."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from searchers import run_folder
from searchers.objectives import MEASURED
from seqconv import Architecture
from seqconv.latency import measure_latency
from seqconv.narrowing import narrowed
from seqconv.networks.build import build
from seqconv.reach import stage_reach
from seqconv.serialization import read_weights
from seqconv.utilisation import CLASSIFIER_WEIGHT, utilisations
from training.checkpoint import WEIGHTS_FILE, kept
from training.data import Split
from training.device import select
from training.energy import measure_energy
from training.log_file import logged
from training.loop import EpochMetrics, train
from training.trial import TrialConfig

LATENCY_TIME = 0.5
"""Seconds to measure the latency for, at least."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a trial before its training."""

    latency: float | None = None
    """Milliseconds for a forward pass of one image."""
    energy: float | None = None
    """Millijoules of the GPU for a forward pass of one image."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What the weights of a trial tell after its training."""

    reach: list[int | None]
    """Groups back that each stage reads, see `seqconv.reach`."""


def train_proxy(
    number: int,
    architecture: Architecture,
    *,
    folder: Path,
    device: str,
    threads: int,
    split: Split,
    config: TrialConfig,
    classes: int,
    measured: Sequence[str] = (),
    recipe: Mapping[str, Any] | None = None,
    parent: tuple[int, int] | None = None,
    **settings: Any,
) -> Generator[Measured | EpochMetrics | Learned, None, None]:
    """Train one trial in its own folder, with its log beside its results; before that, measure what is asked for.

    A member of a population has a `recipe` of its own, and may go on from what its `parent` (number, epoch) came to.
    What the trained weights tell comes before the metrics of the last epoch: with those the caller may close it.
    """
    target = run_folder.trial_folder(folder, number)
    target.mkdir(parents=True, exist_ok=True)
    settings |= {"classes": classes, "device": device, "threads": threads}
    with logged(target / "log.txt") as log:
        if recipe is not None:
            config = replace(config, **recipe)
            named = ", ".join(f"{name} {value:.4g}" for name, value in recipe.items())
            log.info("recipe: %s%s", named, "; from trial {} after epoch {}".format(*parent) if parent else "")
        if parent is not None:
            settings["start"] = kept(run_folder.trial_folder(folder, parent[0]), parent[1])
        if config.width is not None:
            log.info("narrowed to %s", narrowed(architecture, config.width).describe())
        if measured:
            found = _measure(architecture, split, classes, device=device, threads=threads, names=measured)
            for name in measured:
                log.info("%s: %.3f %s", name, getattr(found, name), MEASURED[name])
            yield found
        for metrics in train(architecture, split, config, folder=target, **settings):
            if metrics.epoch == config.epochs:
                yield _learn(architecture, config, target / WEIGHTS_FILE)
            log.info("epoch %d: validation error %.4f", metrics.epoch, metrics.validation_error)
            yield metrics


def _learn(architecture: Architecture, config: TrialConfig, weights: Path) -> Learned:
    """From the weights as they were written, which a trial that is done when it is resumed has too."""
    network = narrowed(architecture, config.width)
    state = read_weights(weights)
    with torch.device("meta"):
        model = build(network, classes=len(state[CLASSIFIER_WEIGHT]))
    model.load_state_dict(state, assign=True)
    return Learned(reach=stage_reach(network, utilisations(model)))


def _measure(
    architecture: Architecture, split: Split, classes: int, *, device: str, threads: int, names: Sequence[str]
) -> Measured:
    """Of one image."""
    model, resolution = build(architecture, classes=classes), split.train_images.shape[-1]
    found = Measured()
    if "latency" in names:
        [time] = measure_latency(model, resolution, [1], device=device, threads=threads, min_run_time=LATENCY_TIME)
        found = replace(found, latency=time.median_ms)
    if "energy" in names:
        found = replace(found, energy=measure_energy(model, resolution, place=select(device)))
    return found
