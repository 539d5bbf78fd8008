"""Trains one network in full, in one process or in each of several, and goes on where a killed run stopped."""

from __future__ import annotations

import time
import zlib
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqconv import validation
from seqconv.files import remove_leftovers
from training import checkpoint
from training import device as devices
from training.checkpoint import Checkpoint
from training.full import processes
from training.full.data import FullData, micro_batch
from training.full.held_signals import HeldSignals
from training.full.metrics import FullMetrics
from training.full.model import ModelSpec
from training.full.recipe import Recipe
from training.full.trainer import FullTrainer, Progress
from training.full.weights import save_weights
from training.trainer import Diverged

__all__ = ["Diverged", "FullMetrics", "train_full"]


def train_full(
    model_spec: ModelSpec,
    data: FullData,
    recipe: Recipe,
    *,
    folder: Path,
    seed: int,
    device: str = "auto",
    threads: int = 1,
    rank: int = 0,
    world: int = 1,
) -> Generator[FullMetrics, None, None]:
    """Train and yield the metrics of every epoch, as soon as its files are written.

    Where `folder` holds a checkpoint of the same training, the last finished epoch is yielded once more, because a
    killed caller may have missed it, and training goes on from the checkpoint, in the middle of an epoch too; on a CPU
    the weights are bit-equal to those of an unbroken run. SIGINT and SIGTERM take effect in the main thread after the
    step that runs, once a checkpoint is written; a second one at once. The global random state is left as it was; the
    number of threads of the process is set.

    With a `world` above 1 each process of an initialised `torch.distributed` group calls this with its rank. All yield
    the same metrics; the first alone reads and writes files. A training that goes on in the middle of an epoch reports
    as that epoch's training loss and error those of the first process before and of all processes after.

    Args:
        model_spec: what to train.
        data: what on.
        recipe: how.
        folder: where `metrics.csv`, `checkpoint.pt` and at the end `model.safetensors` go; the last has the averaged
            weights where the recipe averages, and the measured statistics of batch norm where it measures.
        seed: of the initial weights, the order of the images, augmentation, mixing and dropout.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:<number>".
        threads: CPU threads that torch uses.
        rank: number of this process, from 0.
        world: number of processes.

    Raises:
        ValueError: a recipe that does not fit the data or the number of processes, a device that is not there, or a
            folder with the checkpoint of another training.
        Diverged: while iterating, once the loss is not finite.
        OSError: while iterating, a file that cannot be written; the checkpoint before it stays.
    """
    validation.integer("seed", seed, low=0)
    validation.integer("threads", threads)
    validation.integer("world", world)
    validation.integer("rank", rank, low=0, high=world - 1)
    micro_batch(recipe, world)
    processes.check(rank, world)
    place = devices.select(device)
    identity = _identity(model_spec, data, recipe, seed=seed, world=world)
    saved = processes.from_first(lambda: _load(folder, identity), place, rank, world)

    def run() -> Generator[FullMetrics, None, None]:
        history = [] if saved is None else list(saved.history)
        if history:
            yield FullMetrics(**history[-1])
        if len(history) == recipe.epochs:
            return
        torch.set_num_threads(threads)
        trainer = FullTrainer(model_spec, data, recipe, seed=seed, place=place, rank=rank, world=world)
        files = _Files(folder, identity, history, trainer)
        try:
            progress = trainer.begin(1) if saved is None or saved.state is None else trainer.resume(saved.state)
            while len(history) < recipe.epochs:
                metrics, network = _epoch(trainer, progress, files)
                history.append(asdict(metrics))
                progress = trainer.begin(len(history) + 1)
                files.end_epoch(progress, network)
                yield metrics
        finally:
            trainer.batches.close()

    return run()


def _epoch(trainer: FullTrainer, progress: Progress, files: _Files) -> tuple[FullMetrics, nn.Module]:
    """Train to the end of the epoch and test, with checkpoints on the way."""
    epoch_seed = devices.derive(trainer.seed, progress.epoch)
    with HeldSignals() as signals, devices.seeded(epoch_seed, trainer.place):

        def between() -> None:
            if signals.pending is not None or files.due:
                files.save(progress)
            signals.deliver()

        trainer.train(progress, between)
        return trainer.test(progress, between)


class _Files:
    """The files of a training; the first process alone writes them.

    Args:
        folder: where they are.
        identity: of the training.
        history: metrics of every finished epoch, which grows outside.
        trainer: whose state is saved.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], history: list[dict[str, Any]], trainer: FullTrainer
    ) -> None:
        self.folder, self.identity, self.history, self.trainer = folder, identity, history, trainer
        self.writes = trainer.rank == 0
        self.saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is as old as the recipe allows."""
        return self.writes and time.monotonic() - self.saved_at >= self.trainer.recipe.checkpoint_every

    def save(self, progress: Progress) -> None:
        """A checkpoint from which an epoch goes on."""
        if self.writes:
            state = self.trainer.state(progress)
            checkpoint.save(self.folder, Checkpoint(identity=self.identity, history=self.history, state=state))
            self.saved_at = time.monotonic()

    def end_epoch(self, progress: Progress, network: nn.Module) -> None:
        """Write what the history has, and a checkpoint from which the next epoch starts, or the final weights."""
        if not self.writes:
            return
        checkpoint.save_metrics(self.folder, self.history)
        if len(self.history) < self.trainer.recipe.epochs:
            return self.save(progress)
        # The weights first: a kill between the two repeats some training instead of losing the weights.
        save_weights(self.folder, network)
        checkpoint.save(self.folder, Checkpoint(identity=self.identity, history=self.history, state=None))


def _load(folder: Path, identity: dict[str, Any]) -> Checkpoint | None:
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    return checkpoint.load(folder, identity)


def _identity(model_spec: ModelSpec, data: FullData, recipe: Recipe, *, seed: int, world: int) -> dict[str, Any]:
    """Flat plain values that are equal exactly where a checkpoint may be used."""
    names = zlib.crc32("\n".join(data.class_names).encode())
    size = f"{data.train_size} + {data.test_size} images of {data.classes} classes"
    followed = {name: value for name, value in asdict(recipe).items() if name != "checkpoint_every"}
    return {
        **model_spec.identity(),
        "seed": seed,
        "world": world,
        "data": f"{data.name}, {size} ({names:08x})",
        "data.mean": data.mean,
        "data.std": data.std,
        **{f"recipe.{name}": value for name, value in followed.items()},
    }
