"""Full training in milliseconds: tiny data and networks, data that breaks off, and processes that train together.

    python -m tests.training.full.small FOLDER {kill,terminate}

trains until that happens to the process in the middle of an epoch.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from tests.training import tiny
from training.data import ImageData, Proxy
from training.full.in_memory import InMemory, InMemoryBatches
from training.full.loop import FullMetrics, train_full
from training.full.model import ModelSpec
from training.full.recipe import Recipe
from training.trainer import Diverged

SPEC = ModelSpec(architecture=tiny.TINY)
RECIPE = Recipe(epochs=3, batch_size=16, schedule="one_cycle", warmup_epochs=1.0, checkpoint_every=1e6)
EVERYTHING = replace(
    RECIPE, accumulate=2, dropout=0.2, mixup=0.2, cutmix=1.0, ema=0.9, label_smoothing=0.1, decay_norms=False
)
"""All that is random and all that has a state."""
DIVERGING = replace(RECIPE, learning_rate=1e30, warmup_epochs=0.0)
ACTIONS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda: signal.raise_signal(signal.SIGTERM),
    "interrupt": lambda: signal.raise_signal(signal.SIGINT),
}


def image_data(images: int = 70, test: int = 30, *, seed: int = 0, **changes: Any) -> ImageData:
    split = tiny.split(images, test, seed)
    fields: dict[str, Any] = {
        "name": "tiny",
        "train_images": split.train_images,
        "train_labels": split.train_labels,
        "test_images": split.validation_images,
        "test_labels": split.validation_labels,
        "class_names": ("red", "green", "blue"),
        "source": "noise with a brighter channel",
        "proxy": Proxy(epochs=1, share=1.0, validation_limit=None, validation=0.2),
    }
    return ImageData(**{**fields, **changes})


def data(images: int = 70, test: int = 30, **changes: Any) -> InMemory:
    return InMemory(data=image_data(images, test, **changes))


@dataclass(frozen=True, kw_only=True, eq=False)
class Breaking(InMemory):
    """Does something before a micro-batch of an epoch comes."""

    epoch: int
    position: int
    action: Callable[[], Any]

    def open(self, recipe: Recipe, **arguments: Any) -> InMemoryBatches:
        batches = InMemory.open(self, recipe, **arguments)
        train = batches.train

        def breaking(epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
            for position, batch in enumerate(train(epoch, start), start):
                if (epoch, position) == (self.epoch, self.position):
                    self.action()
                yield batch

        batches.train = breaking  # type: ignore[method-assign]
        return batches


class Broken(Exception):
    """What breaks a training off in tests."""


def fail() -> None:
    raise Broken


@dataclass(frozen=True)
class WithoutNorm:
    """A network whose images do not see each other, in the place of a `ModelSpec`."""

    bias: bool = True

    def build(self, classes: int, recipe: Recipe) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, bias=self.bias), nn.ReLU(), nn.Flatten(), nn.Linear(72, classes)
        )

    def identity(self) -> dict[str, Any]:
        return {"architecture": "without norm"}


def run(folder: Path, recipe: Recipe = RECIPE, **changes: Any) -> Generator[FullMetrics, None, None]:
    """The generator of a tiny training on the CPU."""
    arguments = {"seed": 0, "device": "cpu", **changes}
    spec, images = arguments.pop("spec", SPEC), arguments.pop("data", None)
    return train_full(spec, images or data(), recipe, folder=folder, **arguments)


def timeless(metrics: FullMetrics) -> dict[str, Any]:
    return {**asdict(metrics), "seconds": None, "images_per_second": None, "data_share": None}


def weights(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def assert_same_weights(folder: Path, other: Path) -> None:
    mine, theirs = weights(folder), weights(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training of a group of processes."""

    name: str
    recipe: Recipe
    spec: Any = SPEC
    breaks: bool = False
    """Whether it breaks off in the second epoch and goes on."""


def train_together(rank: int, world: int, folder: Path, jobs: list[Job]) -> None:
    """One process of a group that trains one job after another, and writes what it yielded to files of its own."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/group", rank=rank, world_size=world)
    for job in jobs:
        options = {"spec": job.spec, "rank": rank, "world": world}
        images = data(71, 31)
        if job.breaks:
            breaking = Breaking(data=images.data, epoch=2, position=4, action=fail)
            with contextlib.suppress(Broken):
                list(run(folder / job.name, job.recipe, data=breaking, **options))
        metrics = [asdict(m) for m in run(folder / job.name, job.recipe, data=images, **options)]
        torch.save(metrics, folder / f"{job.name}-{rank}.pt")
    errors = {
        "refused": lambda: run(folder / jobs[0].name, jobs[0].recipe, seed=9, rank=rank, world=world),
        "diverged": lambda: list(run(folder / "diverged", DIVERGING, rank=rank, world=world)),
    }
    for name, action in errors.items():
        try:
            action()
        except (ValueError, Diverged) as error:
            (folder / f"{name}-{rank}.txt").write_text(str(error))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    breaking = Breaking(data=image_data(), epoch=2, position=5, action=ACTIONS[sys.argv[2]])
    every = 1e-6 if sys.argv[2] == "kill" else 1e6
    for _ in run(Path(sys.argv[1]), replace(EVERYTHING, checkpoint_every=every), data=breaking):
        pass
