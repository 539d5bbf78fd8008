"""Trials of a search that are to be exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from promotion.candidates import Candidate, choose
from promotion.export_request import BEST, PARETO
from promotion.exportable import Dataset, Exportable, Result
from searchers.run_folder import RUN_FILE, read_run, trial_folder
from seqconv import validation
from training import levels
from training.checkpoint import WEIGHTS_FILE

_OF_THE_DATA = ("name", "classes", "resolution", "class_names", "mean", "std")


def searched(run: Path, trial: str | int, cost: str) -> list[Exportable]:
    """The best trial, those of the Pareto front, lowest error first, or the one of that number.

    Raises:
        ValueError: a folder that cannot be read, or no such trial, with what there is instead.
    """
    if trial not in (BEST, PARETO) and isinstance(trial, str):
        raise ValueError(f"trial of a search must be best, pareto or the number of a trial, got {trial!r}")
    description = read_run(run)
    about = validation.has_keys(f"{run / RUN_FILE}: dataset", description["dataset"], _OF_THE_DATA)
    if trial == PARETO:
        chosen = choose(run=str(run), pareto=[cost])
    elif isinstance(trial, int):
        chosen = choose(run=str(run), trials=[trial])
    else:
        chosen = choose(run=str(run), top=1)
    return [_exportable(candidate, run, about, description) for candidate in chosen]


def _exportable(candidate: Candidate, run: Path, about: Any, description: Any) -> Exportable:
    number, error = candidate.origin["trial"], candidate.proxy_error
    assert error is not None, "a candidate of a search has an error"
    weights, recipe = trial_folder(run, number) / WEIGHTS_FILE, dict(description["trial"])
    if (own := candidate.origin.get("recipe")) is not None:
        recipe["by_epoch"] = own
    no_weights = "the search kept none of it, because it was stopped early or is not among its best (keep_weights)"
    if (where := candidate.origin.get("where")) and not trial_folder(run, number).is_dir():
        no_weights = f"another search of the study trained it: they are in {where}, if it kept them"
    if (width := recipe.get("width")) is not None:
        no_weights = f"the search trained a network with {width:g} of its channels (trial.width)"
    resolution, data = about["resolution"], dataset(about)
    if recipe.get("resolution") is not None:
        resolution = levels.at(recipe["resolution"], candidate.origin["epochs"])
        data = replace(data, preparation=f"shrunk to {resolution}x{resolution} pixels, with antialiasing")
    return Exportable(
        name=candidate.name,
        architecture=candidate.architecture,
        classes=about["classes"],
        resolution=resolution,
        weights=weights if width is None and weights.is_file() else None,
        no_weights=no_weights,
        dataset=data,
        result=Result(
            part="validation",
            errors={description["seed"]: error},
            seed=description["seed"],
            epochs=candidate.origin["epochs"],
            recipe=recipe,
        ),
        origin={"search": run.resolve().name, "trial": number},
    )


def dataset(about: Any) -> Dataset:
    """From what the description of a run says of its data."""
    names, mean, std = (tuple(about[key]) for key in ("class_names", "mean", "std"))
    return Dataset(name=about["name"], class_names=names, mean=mean, std=std)
