"""Images a second of the loader of full training, beside torchvision's ImageFolder in a plain DataLoader.

    python benchmarks/loader_speed.py ROOT [--workers 1,2] [--augment resized_crop,trivial] [--resolution 224]

ROOT has train/ and val/ with class folders. Nothing is trained: batches come normalised, in float32, on the CPU.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path

import torch
from timing import this_machine
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from seqconv import validation
from training.full.image_batches import ImageBatches
from training.full.image_files import ImageFiles
from training.full.recipe import AUGMENTATIONS, Recipe

REFERENCE_AUGMENT = {
    "resized_crop": [],
    "trivial": [v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)],
}
"""What comes after the crop and the flip, where the loader has its equal."""
Batch = tuple[Tensor, Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = _parsed(arguments)
    torch.set_num_threads(1)
    try:
        print("\n".join(f"{name}: {value}" for name, value in asdict(this_machine("cpu", "float32")).items()))
        print(f"images: {ImageFiles(root=str(given.root)).source}\n")
        print(f"{'augment':<14}{'workers':>8}{'images/s':>10}{'reference':>11}{'ratio':>7}")
        for augment in given.augment:
            for workers in given.workers:
                speed, reference = measured(augment, workers, given)
                compared = f"{reference:>11.0f}{speed / reference:>7.2f}" if reference else ""
                print(f"{augment:<14}{workers:>8}{speed:>10.0f}{compared}", flush=True)
    except ValueError as error:
        sys.exit(f"error: {error}")


def measured(augment: str, workers: int, given: argparse.Namespace) -> tuple[float, float | None]:
    """Best images a second of the loader and of the reference over rounds in which they take turns."""
    recipe = Recipe(batch_size=given.batch, epochs=10**9, augment=augment, resolution=given.resolution)
    files = ImageFiles(root=str(given.root), workers=workers)
    batches = files.open(recipe, rank=0, world=1, seed=0, device=torch.device("cpu"))
    streams: list[Iterator[Batch]] = [_endless(batches)]
    if augment in REFERENCE_AUGMENT:
        streams.append(iter(_reference(files, augment, workers, given)))
    best = [0.0 for _ in streams]
    for _ in range(given.rounds):
        for number, stream in enumerate(streams):
            best[number] = max(best[number], images_per_second(stream, given.seconds, skip=4 * max(1, workers)))
    batches.close()
    return best[0], best[1] if len(best) > 1 else None


def images_per_second(stream: Iterator[Batch], seconds: float, *, skip: int) -> float:
    """Over `seconds`, after `skip` batches: those that were read ahead while another stream had its turn."""
    for _ in range(skip):
        next(stream)
    images, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds or not images:
        images += len(next(stream)[1])
    return images / (time.perf_counter() - began)


def _endless(batches: ImageBatches) -> Iterator[Batch]:
    for epoch in count(1):
        yield from batches.train(epoch)


def _reference(files: ImageFiles, augment: str, workers: int, given: argparse.Namespace) -> DataLoader[Batch]:
    """The way of torchvision's tutorials; without end, so that the start of an epoch costs it nothing."""
    transform = v2.Compose([
        v2.RandomResizedCrop(given.resolution), v2.RandomHorizontalFlip(), *REFERENCE_AUGMENT[augment],
        v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(files.mean, files.std),
    ])  # fmt: skip
    images = ImageFolder(str(files.folders.train.root), transform)
    sampler = RandomSampler(images, replacement=True, num_samples=10**9)
    return DataLoader(images, batch_size=given.batch, sampler=sampler, num_workers=workers)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    cores = sorted({1, 2, os.cpu_count() or 1})
    parser.add_argument("--workers", type=_integers, default=cores, help="processes, such as 0,1,2,4")
    parser.add_argument("--augment", type=_augmentations, default=["resized_crop", "trivial"], help="of a recipe")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="in which both are measured")
    return parser.parse_args(arguments)


def _integers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _augmentations(text: str) -> list[str]:
    try:
        return [validation.one_of("augment", name, AUGMENTATIONS) for name in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    main()
