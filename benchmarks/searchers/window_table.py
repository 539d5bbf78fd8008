"""Trains every architecture of a small space on a CIFAR-10 proxy: a table to measure searchers on.

    python benchmarks/searchers/window_table.py --root FOLDER --out experiments/window_table

All architectures are trained with seed 0, in an order that is random and fixed, then every third of them with further
seeds. The Parquet file is written anew after each training; a killed run goes on where it stopped, and one with more
--seeds or another --every adds to the table. One thread computes, and seconds_1, ... are its processor time, which
other work on the machine changes less than the time on the wall.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir

import command_line
from search_spaces.knobs import Value
from search_spaces.space import SearchSpace, size
from seqconv import Architecture, validation
from seqconv.complexity import measure
from seqconv.files import write_atomically
from seqconv.serialization import read_yaml, to_yaml
from training.data import ImageData, Split, split
from training.datasets import Cifar10
from training.loop import train
from training.trial import TrialConfig

TABLE, CONFIG = "window_table.parquet", "config.yaml"
COSTS = ("params", "macs", "serial_depth", "activation_bytes", "paper_flops")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One row to be."""

    values: Mapping[str, Value]
    """Knob values."""
    seed: int
    """Of the initial weights, the order of the images and augmentation."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = _parsed(arguments)
    try:
        space = search_space(given.overrides)
        plan = trainings(space, seeds=given.seeds, every=given.every)
        data = halved(Cifar10(root=given.root, verify=False, download=False).load())
        trial = _trial(given, len(data.train_labels))
        parts = split(data, share=trial.share or 1.0, validation_limit=trial.validation_limit)
        settle(given.out, identity(space, trial, data))
    except ValueError as error:
        sys.exit(f"error: {error}")
    rows = _rows(given.out / TABLE)
    done = {(row["fingerprint"], row["seed"]) for row in rows}
    for number, training in enumerate(plan, start=1):
        architecture = space.decode(training.values)
        if (architecture.fingerprint(), training.seed) not in done:
            rows.append(row := _row(training, architecture, parts, trial, data))
            _write(given.out / TABLE, rows)
            result = f"error {row[f'validation_error_{trial.epochs}']:.3f} in {row['wall_seconds']:.1f} s"
            print(f"{number}/{len(plan)} seed {training.seed}: {result}   {architecture.describe()}", flush=True)


def trainings(space: SearchSpace, *, seeds: int, every: int) -> list[Training]:
    """Everything to train, in order: a table that is cut short has every architecture before it has any twice.

    Args:
        space: of which all architectures are trained with seed 0.
        seeds: with which some of them are trained, 0 among them.
        every: how many architectures there are to one of these.

    Raises:
        ValueError: a space that cannot be enumerated, or a number below 1.
    """
    validation.integer("seeds", seeds)
    validation.integer("every", every)
    vectors = _all_vectors(space)
    random.Random(0).shuffle(vectors)
    first = [Training(values=values, seed=0) for values in vectors]
    further = [Training(values=values, seed=seed) for seed in range(1, seeds) for values in vectors[::every]]
    return first + further


def _all_vectors(space: SearchSpace) -> list[dict[str, Value]]:
    names = [knob.name for knob in space.knobs]
    domains = [knob.probes() for knob in space.knobs]
    vectors = [dict(zip(names, values, strict=True)) for values in itertools.product(*domains)]
    if size(space) != len(vectors):
        raise ValueError(f"search_space {space.name}: a table needs knobs with few values, steps and no conditions")
    return vectors


def _trial(given: argparse.Namespace, images: int) -> TrialConfig:
    return TrialConfig(
        epochs=given.epochs,
        share=given.images / round(0.9 * images),
        validation_limit=given.validation,
        norm_batches=2,
        augment="crop_flip",
        channels_last=False,
    )


def _row(
    training: Training, architecture: Architecture, parts: Split, trial: TrialConfig, data: ImageData
) -> dict[str, Any]:
    """Train, and all that the table tells of it."""
    cost = asdict(measure(architecture, resolution=data.resolution, classes=data.classes))
    knobs = {f"knob.{name}": value for name, value in training.values.items()}
    costs = {name: cost[name] for name in COSTS}
    began, processor_began = time.perf_counter(), time.process_time()
    errors, seconds = {}, {}
    for metrics in train(
        architecture, parts, trial, classes=data.classes, folder=None, seed=training.seed, device="cpu"
    ):
        errors[f"validation_error_{metrics.epoch}"] = metrics.validation_error
        seconds[f"seconds_{metrics.epoch}"] = time.process_time() - processor_began
    times = {**seconds, "wall_seconds": time.perf_counter() - began}
    return {**knobs, "fingerprint": architecture.fingerprint(), "seed": training.seed, **costs, **errors, **times}


def _rows(path: Path) -> list[dict[Any, Any]]:
    return pd.read_parquet(path).to_dict("records") if path.is_file() else []


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_atomically(path, pd.DataFrame(rows).to_parquet(index=False))


def settle(folder: Path, identity: Mapping[str, Any]) -> None:
    """Keep what the rows are trained with beside them.

    Raises:
        ValueError: the folder has rows of another configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CONFIG
    if (folder / TABLE).is_file() and (not file.is_file() or read_yaml(file) != identity):
        raise ValueError(f"{folder / TABLE} was trained with another configuration than this one: give another --out")
    write_atomically(file, to_yaml(identity).encode())


def identity(space: SearchSpace, trial: TrialConfig, data: ImageData) -> dict[str, Any]:
    """All that errors depend on, as plain data."""
    images = zlib.crc32(data.train_images.tobytes())
    return {
        "search_space": space.to_dict(),
        "trial": asdict(trial),
        "data": {"name": data.name, "resolution": data.resolution, "training_images_crc32": f"{images:08x}"},
    }


def halved(data: ImageData) -> ImageData:
    """Every pixel the mean of four, rounded."""
    train, test = (_halved_images(part) for part in (data.train_images, data.test_images))
    return replace(data, train_images=train, test_images=test)


def _halved_images(images_NCHW: np.ndarray) -> np.ndarray:
    wide = images_NCHW.astype(np.uint16)
    columns = wide[..., ::2] + wide[..., 1::2]
    return ((columns[..., ::2, :] + columns[..., 1::2, :] + 2) // 4).astype(np.uint8)


def search_space(overrides: Sequence[str]) -> Any:
    """`windowed_small`, changed by overrides of search.py."""
    with initialize_config_dir(str(command_line.CONF), version_base="1.3"):
        composed = compose("search", ["search_space=windowed_small", *overrides])
    return command_line.instantiate(composed.search_space)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="folder that has CIFAR-10")
    parser.add_argument("--out", required=True, type=Path, help=f"folder of {TABLE} and {CONFIG}")
    parser.add_argument("--images", type=int, default=1280, help="to train on (default: %(default)s)")
    parser.add_argument("--validation", type=int, default=1000, help="images to validate on (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="of a training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of some architectures (default: %(default)s)")
    parser.add_argument("--every", type=int, default=3, help="1: all have them, 3: a third (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE of search.py that changes search_space=windowed_small")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
