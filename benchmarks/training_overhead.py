"""What the loop of full training costs beside the training itself: its images a second over those of a bare loop.

    python benchmarks/training_overhead.py [--root FOLDER] [--device cpu|cuda] [--preset NAME]

The bare loop is forward, cross entropy, backward and an optimizer step on batches that lie normalised on the device.
Through `train_full` go the same batches of noise, and with --root CIFAR-10 on its real path of crops and flips; its
metrics, random numbers and a checkpoint an epoch are included. The two loops take turns, an epoch each.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import WARM_UP, Work, cpu_clock, cuda_clock, take_turns, this_machine
from torch.nn import functional as F

from seqconv.networks.presets import PRESETS, preset
from training import device
from training.data import ImageData, Proxy
from training.datasets import Cifar10
from training.full import optimization
from training.full.data import FullData
from training.full.in_memory import InMemory, InMemoryBatches
from training.full.loop import train_full
from training.full.model import ModelSpec
from training.full.recipe import Recipe

BAR = 0.9
"""The least share of the bare loop's images a second that the loop has to keep."""
CLASSES = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready(InMemory):
    """The batches of the first epoch in every epoch, made beforehand."""

    def open(self, recipe: Recipe, **arguments: Any) -> InMemoryBatches:
        batches = InMemory.open(self, recipe, **arguments)
        ready = list(batches.train(1))
        batches.train = lambda epoch, start=0: itertools.islice(ready, start, None)  # type: ignore[method-assign]
        return batches


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = _parsed(arguments)
    torch.set_num_threads(given.threads)
    place = torch.device(given.device)
    recipe = Recipe(epochs=given.rounds + WARM_UP, batch_size=given.batch, schedule="one_cycle", ema=given.ema)
    spec = ModelSpec(architecture=preset(given.preset))
    noise, cifar10 = _noise(given), _few(_cifar10(given.root), given) if given.root else None
    machine = this_machine(given.device, "bfloat16" if device.autocast_type("auto", place) else "float32")
    print("\n".join(f"{name}: {value}" for name, value in asdict(machine).items()))
    print(f"network: {given.preset}, batches of {given.batch}, {given.steps} steps an epoch, EMA {given.ema:g}\n")
    _compare("noise in memory", spec, noise, Ready(data=noise), recipe, given)
    if cifar10 is not None:
        _compare("CIFAR-10", spec, cifar10, InMemory(data=cifar10), recipe, given)


def _compare(
    title: str, spec: ModelSpec, source: ImageData, data: FullData, recipe: Recipe, given: argparse.Namespace
) -> None:
    """Time epochs of `data` through the loop, and of what it is made of through the bare loop, and print both."""
    place = torch.device(given.device)
    with tempfile.TemporaryDirectory() as folder:
        options = {"folder": Path(folder), "seed": 0, "device": given.device, "threads": given.threads}
        with contextlib.closing(train_full(spec, data, recipe, **options)) as training:
            ways = {"bare loop": _bare(spec, Ready(data=source), recipe, place), "train_full": training.__next__}
            works = {way: Work(run, lambda: None) for way, run in ways.items()}
            clock = cuda_clock if given.device == "cuda" else cpu_clock
            times = take_turns(works, rounds=given.rounds, clock=clock)
    for way, spent in times.items():
        rate = 1000 * given.steps * given.batch / spent.median
        print(f"{title:<15} {way:<10} {rate:10.1f} images/s, epochs of {spent.min:.0f} to {spent.max:.0f} ms")
    ratio = times["bare loop"].median / times["train_full"].median
    print(f"{title:<15} {ratio:.3f} of the bare loop's, {'within' if ratio >= BAR else 'NOT WITHIN'} the bar {BAR:g}")


def _bare(spec: ModelSpec, data: Ready, recipe: Recipe, place: torch.device) -> Callable[[], object]:
    """An epoch of the shortest loop that trains the same network in the same precision and layout."""
    with device.seeded(0, place):
        model = spec.build(CLASSES, recipe).to(place).to(memory_format=torch.channels_last).train()
    batches = list(data.open(recipe, rank=0, world=1, seed=0, device=place).train(1))
    optimizer = optimization.optimizer(model, recipe)
    dtype = device.autocast_type(recipe.precision, place)

    def run() -> None:
        for images, labels in batches:
            with torch.autocast(place.type, dtype, enabled=dtype is not None):
                loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def _noise(given: argparse.Namespace) -> ImageData:
    """CIFAR-10's shapes."""
    generator = np.random.default_rng(0)
    images = given.steps * given.batch + CLASSES
    pixels = generator.integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(images, dtype=np.int64) % CLASSES
    return _data("noise", pixels[CLASSES:], labels[CLASSES:], pixels[:CLASSES], labels[:CLASSES])


def _cifar10(root: str) -> ImageData:
    try:
        return Cifar10(root=root, verify=False, download=False).load()
    except ValueError as error:
        sys.exit(f"error: {error}")


def _few(data: ImageData, given: argparse.Namespace) -> ImageData:
    """As many training images as an epoch takes, and so few test images that testing does not count."""
    images = given.steps * given.batch
    if len(data.train_labels) < images:
        sys.exit(
            f"error: {data.name} has {len(data.train_labels)} training images, {images} are asked for: lower --steps"
        )
    train, test = slice(images), slice(CLASSES)
    parts = data.train_images[train], data.train_labels[train], data.test_images[test], data.test_labels[test]
    return _data(data.name, *parts)


def _data(name: str, *parts: np.ndarray) -> ImageData:
    fields = dict(zip(("train_images", "train_labels", "test_images", "test_labels"), parts, strict=True))
    proxy = Proxy(epochs=1, share=1.0, validation_limit=None)
    return ImageData(name=name, class_names=tuple("0123456789"), source=name, proxy=proxy, **fields)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", help="folder that has CIFAR-10; without it noise alone is trained on")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU (default: 1)")
    parser.add_argument("--preset", choices=PRESETS, default="cifar_b_small", help="network (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="images of a step (default: 64)")
    parser.add_argument("--steps", type=int, default=20, help="steps of an epoch (default: 20)")
    parser.add_argument("--rounds", type=int, default=9, help="epochs of each that count (default: 9)")
    parser.add_argument("--ema", type=float, default=0.0, help="decay of averaged weights, which the bare loop has not")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU here")
    return given


if __name__ == "__main__":
    main()
