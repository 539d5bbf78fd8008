"""Runs to export from, as a search and a promotion leave them, with small networks that were not really trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

import seqconv
from promotion import results
from promotion.candidates import Candidate
from promotion.folder import PromotionFolder
from promotion.training import Training
from searchers.record import COMPLETED, FAILED, PRUNED
from searchers.run_folder import RunFolder
from searchers.study import TrialStore
from seqconv import Architecture, Stage
from tests.searchers.fakes import begin, choices, drawn, finish, store
from tests.seqconv.layers.examples import randomised
from training import checkpoint
from training.full.metrics import FullMetrics
from training.full.model import ModelSpec
from training.full.weights import save_weights

CLASSES, PIXELS = 3, 16
DATASET: dict[str, Any] = {
    "name": "shapes", "classes": CLASSES, "resolution": PIXELS, "class_names": ["disc", "ring", "bar"],
    "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
}  # fmt: skip
RECIPE = {"epochs": 2, "learning_rate": 0.1}
IDENTITY: dict[str, Any] = {
    "search_space": {"name": "tiny"}, "dataset": DATASET, "trial": RECIPE, "objective": ["error"], "seed": 5
}  # fmt: skip
SPACE = choices(window=[1, 2], form=["plain", "bottleneck"])


def network(architecture: Architecture, seed: int = 0) -> nn.Module:
    """With weights and statistics that are all different."""
    return randomised(seqconv.build(architecture, classes=CLASSES), seed).eval()


def _trial(
    run: RunFolder, opened: TrialStore, *errors: float, outcome: str = COMPLETED, weights: bool = True, params: int
) -> None:
    architecture = SPACE.decode(drawn(len(opened.records()), SPACE))
    facts = {"architecture": architecture.to_dict(), "fingerprint": architecture.fingerprint(), "params": params}
    record = begin(opened, SPACE, **facts, macs=-params, serial_depth=1, activation_bytes=1)
    finish(opened, record, *errors, outcome=outcome)
    run.trial(record.number).mkdir()
    if weights:
        model = network(architecture, record.number).to(memory_format=torch.channels_last)  # as training leaves it
        checkpoint.save_weights(run.trial(record.number), model.state_dict())


def search(folder: Path, **recipe: Any) -> Path:
    """Trials: 0 and 1 completed, 2 pruned, 3 failed, 4 a duplicate of 0, 5 running, 6 completed without weights."""
    run = RunFolder(folder)
    run.open({**IDENTITY, "trial": {**RECIPE, **recipe}}, {})
    opened = store(run.path, of=SPACE)
    _trial(run, opened, 0.5, 0.25, params=10)
    _trial(run, opened, 0.5, 0.125, params=30)
    _trial(run, opened, 0.75, outcome=PRUNED, weights=False, params=5)
    _trial(run, opened, 0.75, outcome=FAILED, weights=False, params=5)
    opened.finish_duplicate(begin(opened, SPACE).number, opened.record(0))
    begin(opened, SPACE)
    _trial(run, opened, 0.5, 0.375, weights=False, params=20)
    run.close()
    return run.path


SMALL = Architecture(stages=(Stage(blocks=1, group_width=8, form="bottleneck"),), pyramid=(1,))
LARGE = Architecture(stages=(Stage(blocks=2, group_width=16),), widening=2, pyramid=(1,))
CANDIDATES = [
    Candidate(name="trial-0007", architecture=SMALL, origin={"run": "one", "trial": 7}, proxy_error=0.5),
    Candidate(name="preset-large", architecture=LARGE, origin={"preset": "large"}),
    Candidate(name="timm-resnet10t", timm_name="resnet10t", origin={"timm": "resnet10t"}),
]
FULL: dict[str, Any] = {"epochs": 3, "resolution": None, "evaluation_resolution": None}
STAGES: dict[str, Any] = {
    "cifar": {"recipe": FULL, "dataset": DATASET},
    "imagenet": {"recipe": {**FULL, "resolution": 24, "evaluation_resolution": 32}, "dataset": DATASET},
}


def promotion(folder: Path, errors: Mapping[tuple[str, str], list[float | None]]) -> Path:
    """A promotion with the test errors, None while open, of the seeds of candidates (name, stage)."""
    place = PromotionFolder(folder)
    place.open({"choice": {}, "stages": STAGES, "processes": 1}, CANDIDATES, {})
    for (name, stage), of_seeds in errors.items():
        candidate = next(candidate for candidate in CANDIDATES if candidate.name == name)
        for seed, error in enumerate(of_seeds):
            _training(place, candidate, stage, seed, error)
    place.close()
    return folder


def _training(place: PromotionFolder, candidate: Candidate, stage: str, seed: int, error: float | None) -> None:
    target = place.seed(candidate.name, stage, seed)
    target.mkdir(parents=True)
    if candidate.architecture is not None:
        seqconv.write_architecture(candidate.architecture, target.parent / "architecture.yaml")
    done = 1 if error is None else FULL["epochs"]
    checkpoint.save_metrics(target, [asdict(metrics(epoch, error or 0.9)) for epoch in range(1, done + 1)])
    if error is None:
        return
    spec = ModelSpec(architecture=candidate.architecture, timm_name=candidate.timm_name)
    training = Training(candidate=candidate.name, stage=stage, seed=seed, folder=target, spec=spec)
    save_weights(target, trained(candidate, seed))
    results.write_end(training, None)


def trained(candidate: Candidate, seed: int) -> nn.Module:
    """What that training came to."""
    if candidate.architecture is not None:
        return network(candidate.architecture, seed)
    torch.manual_seed(seed)
    model: nn.Module = timm.create_model(str(candidate.timm_name), num_classes=CLASSES)
    return model.eval()


def metrics(epoch: int, error: float) -> FullMetrics:
    """Of an epoch."""
    return FullMetrics(
        epoch=epoch, train_loss=1.0, train_error=0.5, test_loss=1.0, test_error=error, ema_error=None,
        learning_rate=0.1, seconds=1.0, images_per_second=1.0, data_share=0.0, skipped=0,
    )  # fmt: skip
