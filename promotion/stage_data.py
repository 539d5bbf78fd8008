"""The images of each stage of a promotion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promotion.config import CIFAR, IMAGENET, PromoteConfig, Stage
from searchers.run_folder import read_run
from training.datasets import Auto
from training.full.data import FullData
from training.full.in_memory import InMemory


def load(config: PromoteConfig) -> dict[str, FullData]:
    """By stage, the images to train on.

    The cifar stage has them in memory and in the size in which a search sees them, the imagenet stage in files.

    Raises:
        ValueError: data that are not there, that the stage's recipe cannot train on, or that nobody asked for: where
            the search was on others, a default does not stand in for them.
    """
    data = {name: _load(name, stage, config.processes) for name, stage in config.chosen_stages.items()}
    differing = _other_than_searched(config, data)
    if differing is not None and config.cifar is not None and isinstance(config.cifar.dataset, Auto):
        where = Path(str(config.run)) / "config.yaml"
        raise ValueError(f"{differing}: give {CIFAR}.dataset= and what it needs, as in {where}, or other data by name")
    return data


def describe(config: PromoteConfig, data: dict[str, FullData]) -> Iterator[str]:
    """Lines for the user."""
    for name, images in data.items():
        yield f"data for {name}: {images.source}"
    if differing := _other_than_searched(config, data):
        yield f"note: {differing}"


def _load(name: str, stage: Stage, processes: int) -> FullData:
    import torch

    dataset: Any = stage.dataset
    reads_files = name == IMAGENET and hasattr(dataset, "files")
    data: FullData = dataset.files() if reads_files else InMemory(data=dataset.load())
    data.open(stage.recipe, rank=0, world=processes, seed=0, device=torch.device("cpu")).close()
    return data


def _other_than_searched(config: PromoteConfig, data: dict[str, FullData]) -> str | None:
    if config.run is None or CIFAR not in data:
        return None
    run, here = Path(config.run).expanduser(), data[CIFAR]
    there = read_run(run)["dataset"]
    if (there["name"], there["class_names"]) == (here.name, list(here.class_names)):
        return None
    what = f"the search was on {there['name']} ({there['classes']} classes)"
    return f"run={config.run}: {what}, stage {CIFAR} trains on {here.name} ({here.classes} classes)"
