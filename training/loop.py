"""Trains one architecture epoch by epoch, keeps its files, and goes on where a killed run stopped."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Generator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seqconv import validation
from seqconv.architecture import Architecture
from seqconv.files import remove_leftovers
from training import checkpoint
from training.checkpoint import Checkpoint
from training.device import select
from training.fidelity import check_resolution, fidelities
from training.gpu_use import GpuUse
from training.nvml import gpu
from training.trainer import Diverged, EpochMetrics, Trainer
from training.trial import RECIPE

if TYPE_CHECKING:
    from training.data import Split
    from training.trial import TrialConfig

__all__ = ["Diverged", "EpochMetrics", "train"]

START = "start"
"""In the identity of a trial, the one that it goes on from."""


def train(
    architecture: Architecture,
    split: Split,
    config: TrialConfig,
    *,
    classes: int,
    folder: Path | None,
    seed: int,
    device: str = "auto",
    threads: int = 1,
    start: Path | None = None,
    keep: Collection[int] = (),
) -> Generator[EpochMetrics, None, None]:
    """Train and yield the metrics of every epoch, as soon as its files are written.

    Where `folder` holds a checkpoint of the same trial, its epochs are yielded once more, because a new caller decides
    by all of them, and training goes on after them; on a CPU the weights are bit-equal to those of an unbroken run. A
    trial whose last epoch is done yields its epochs alone. The global random state is left as it was; the number of
    threads of the process is set.

    Args:
        architecture: what to train.
        split: images, labels and normalisation.
        config: recipe and fidelity with no field left open, see `TrialConfig.resolved`.
        classes: number of logits.
        folder: where `metrics.csv`, `checkpoint.pt` and at the end `model.pt` go; None keeps no files.
        seed: of the initial weights, the order of the images, augmentation and dropout.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:<number>".
        threads: CPU threads that torch uses.
        start: the kept checkpoint of another trial of this architecture, which this one goes on from with the epoch
            after; only what is in `training.trial.RECIPE` may differ.
        keep: epochs whose checkpoints stay, for others to go on from.

    Raises:
        ValueError: an open field, too few images, a label outside the classes, a resolution that images or network do
            not have, a share that the split does not have, a device that is not there, a folder with the checkpoint of
            another trial, or a start that is not there, is damaged or of another architecture, fidelity or data.
        Diverged: while iterating, once the loss is not finite.
    """
    epochs = _check(split, config, classes=classes, seed=seed, threads=threads)
    check_resolution(config, split.train_images.shape[-1], [architecture])
    place = select(device)
    identity = _identity(architecture, split, config, classes=classes, seed=seed)
    if start is not None:
        identity |= {START: f"{start.parent.name}/{start.name}"}
    saved = begun = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        saved = checkpoint.load(folder, identity)
    if saved is None and start is not None:
        begun = checkpoint.load_kept(start, identity, (*(f"trial.{name}" for name in RECIPE), START))

    def run() -> Generator[EpochMetrics, None, None]:
        done = [] if saved is None else [EpochMetrics(**epoch) for epoch in saved.history]
        # A checkpoint may be older than some of the fields, and a table has all of them in every row.
        history = [asdict(metrics) for metrics in done]
        latest = saved or begun
        last = latest.history[-1]["epoch"] if latest is not None else 0
        yield from done
        if last == epochs:
            return
        torch.set_num_threads(threads)
        trainer = Trainer(architecture, split, config, epochs=epochs, classes=classes, seed=seed, place=place)
        if latest is not None and latest.state is not None:
            trainer.load_state(latest.state)
        with GpuUse(gpu(place)) as use:
            for epoch in range(last + 1, epochs + 1):
                metrics = trainer.epoch(epoch)
                metrics = replace(metrics, **asdict(use.read()))
                history.append(asdict(metrics))
                if folder is not None:
                    _write_files(folder, identity, history, trainer, keep)
                yield metrics

    return run()


def _write_files(
    folder: Path, identity: dict[str, Any], history: list[dict[str, Any]], trainer: Trainer, keep: Collection[int]
) -> None:
    checkpoint.save_metrics(folder, history)
    epoch = history[-1]["epoch"]
    if epoch in keep:
        checkpoint.keep(folder, Checkpoint(identity=identity, history=history, state=trainer.state()), epoch)
    if epoch == trainer.epochs:
        # The weights first: a kill between the two repeats epochs instead of losing the weights.
        checkpoint.save_weights(folder, trainer.model.state_dict())
        checkpoint.save(folder, Checkpoint(identity=identity, history=history, state=None))
    elif epoch % trainer.config.checkpoint_every == 0:
        checkpoint.save(folder, Checkpoint(identity=identity, history=history, state=trainer.state()))


def _check(split: Split, config: TrialConfig, *, classes: int, seed: int, threads: int) -> int:
    """The number of epochs, once everything is known to be usable."""
    validation.integer("classes", classes)
    validation.integer("seed", seed, low=0)
    validation.integer("threads", threads)
    if config.epochs is None or config.augment == "auto":
        field, value = ("epochs", "null") if config.epochs is None else ("augment", "auto")
        raise ValueError(f"trial.{field} is {value}: give a value, or take the data set's with TrialConfig.resolved")
    fewest = min(fidelity.images for fidelity in fidelities(config, split, epochs=config.epochs))
    counted = (
        ("training", fewest, split.train_labels, 2),
        ("validation", len(split.validation_labels), split.validation_labels, 1),
    )
    for name, images, labels, least in counted:
        if images < least:
            raise ValueError(f"at least {least} {name} images are needed, got {images}: raise trial.share")
        if labels.min() < 0 or labels.max() >= classes:
            found = f"{labels.min()} to {labels.max()}"
            raise ValueError(f"{name} labels must be from 0 to {classes - 1} for {classes} classes, got {found}")
    return config.epochs


def _identity(
    architecture: Architecture, split: Split, config: TrialConfig, *, classes: int, seed: int
) -> dict[str, Any]:
    """Flat plain values that are equal exactly where a checkpoint may be used."""
    labels = zlib.crc32(split.validation_labels.tobytes(), zlib.crc32(split.train_labels.tobytes()))
    height, width = split.train_images.shape[2:]
    return {
        "architecture": architecture.fingerprint(),
        "seed": seed,
        "classes": classes,
        "data": f"{len(split.train_labels)} + {len(split.validation_labels)} images of {height}x{width}, {labels:08x}",
        **{f"trial.{name}": value for name, value in asdict(config).items()},
    }
