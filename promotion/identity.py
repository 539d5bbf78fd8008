"""What the results of a promotion depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from promotion.candidates import Candidate, choose
from promotion.config import IMAGENET, PromoteConfig, Stage
from searchers.run_folder import read_run
from training.full.data import FullData


def identify(config: PromoteConfig, data: Mapping[str, FullData]) -> dict[str, Any]:
    """What the results depend on: another promotion must not go on in its folder.

    The search may be running: which of its trials were chosen is kept in the folder, and how they are chosen is here.
    """
    run = None if config.run is None else Path(config.run).expanduser()
    choice = {
        "run": None if run is None else f"{run.resolve().name}-{read_run(run)['id']}",
        "top": config.top,
        "pareto": config.pareto,
        "trials": config.trials,
        "others": {c.name: c.network for c in named(config)},
    }
    stages = {name: _stage_identity(name, stage, config, data[name]) for name, stage in config.chosen_stages.items()}
    return {"choice": choice, "stages": stages, "processes": config.processes}


def named(config: PromoteConfig) -> list[Candidate]:
    """The candidates that do not come from the search, as they are without those that do."""
    if not (config.presets or config.files or config.timm):
        return []
    return choose(
        run=None, top=None, pareto=None, trials=None, presets=config.presets, files=config.files, timm=config.timm
    )


def _stage_identity(name: str, stage: Stage, config: PromoteConfig, data: FullData) -> dict[str, Any]:
    recipe = {key: value for key, value in asdict(stage.recipe).items() if key != "checkpoint_every"}
    return {
        "recipe": recipe | {"milestones": list(stage.recipe.milestones)},
        "dataset": {
            "name": data.name,
            "classes": data.classes,
            "resolution": data.resolution,
            "train_size": data.train_size,
            "test_size": data.test_size,
            "class_names": list(data.class_names),
            "mean": [round(value, 6) for value in data.mean],
            "std": [round(value, 6) for value in data.std],
        },
    } | ({"target": config.target, "measure": config.measure} if name == IMAGENET else {})
