"""What one trial does in its worker: measurements, and training on the proxy task."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchers import run_folder
from seqconv import Architecture
from seqconv.latency import measure_latency
from seqconv.networks.build import build
from training.data import Split
from training.log_file import logged
from training.loop import EpochMetrics, train

LATENCY_TIME = 0.5
"""Seconds to measure the latency for, at least."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a trial before its training."""

    latency: float
    """Milliseconds for a forward pass of one image."""


def train_proxy(
    number: int,
    architecture: Architecture,
    *,
    folder: Path,
    device: str,
    threads: int,
    split: Split,
    classes: int,
    measured: Sequence[str] = (),
    **settings: Any,
) -> Generator[Measured | EpochMetrics, None, None]:
    """Train one trial in its own folder, with its log beside its results; before that, measure what is asked for."""
    target = run_folder.trial_folder(folder, number)
    target.mkdir(parents=True, exist_ok=True)
    settings |= {"classes": classes, "device": device, "threads": threads}
    with logged(target / "log.txt") as log:
        if measured:
            latency = _latency(architecture, split, classes, device=device, threads=threads)
            log.info("latency: %.3f ms", latency)
            yield Measured(latency=latency)
        for metrics in train(architecture, split, folder=target, **settings):
            log.info("epoch %d: validation error %.4f", metrics.epoch, metrics.validation_error)
            yield metrics


def _latency(architecture: Architecture, split: Split, classes: int, *, device: str, threads: int) -> float:
    """Milliseconds for one image."""
    model, resolution = build(architecture, classes=classes), split.train_images.shape[-1]
    [found] = measure_latency(model, resolution, [1], device=device, threads=threads, min_run_time=LATENCY_TIME)
    return found.median_ms
