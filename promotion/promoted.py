"""Candidates of a promotion that are to be exported, each with the weights of its best seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from promotion import folder, results
from promotion.candidates import Candidate
from promotion.config import IMAGENET
from promotion.export_request import BEST, PARETO
from promotion.exportable import Exportable, Result
from promotion.searched import dataset
from seqconv import read_architecture, validation
from seqconv.serialization import ARCHITECTURE_FILE
from training.datasets import Folder, ImageNet
from training.full.image_transforms import TEST_CROP
from training.full.weights import WEIGHTS_FILE

Errors = Mapping[str, Mapping[int, float]]
"""By candidate and seed, of the trainings of a stage that came to their end."""


def promoted(run: Path, trial: str | int, stage: str | None) -> Exportable:
    """The candidate of the lowest mean error, or the one of that name (7 is trial-0007).

    Args:
        run: folder of a promotion, which may be running.
        trial: best, or which candidate.
        stage: of which stage; None is the last one that has a result.

    Raises:
        ValueError: a folder that cannot be read, no such stage or candidate, or one that has no result.
    """
    if trial == PARETO:
        raise ValueError(f"run={run}: trial=pareto is for a search; of a promotion take best or a candidate's name")
    description, candidates = folder.read_promotion(run), folder.read_candidates(run)
    stages = list(description["stages"])
    if stage is not None:
        stages = [validation.one_of(f"run={run}: stage", stage, stages)]
    if trial != BEST:
        candidates = [_named(trial, candidates, run)]
    for name in reversed(stages):
        if errors := _errors(folder.PromotionFolder(run), name, candidates):
            best = min(errors, key=lambda candidate: results.rank(errors[candidate].values()))
            chosen = next(candidate for candidate in candidates if candidate.name == best)
            return _exportable(run, chosen, name, errors[best], description, among=len(errors))
    whose = "no training" if trial == BEST else f"no training of {candidates[0].name}"
    raise ValueError(f"run={run}: {whose} in stage {' or '.join(stages)} has come to its end with a result yet")


def _named(trial: str | int, candidates: Sequence[Candidate], run: Path) -> Candidate:
    name = f"trial-{trial:04d}" if isinstance(trial, int) else trial
    known = [candidate.name for candidate in candidates]
    return candidates[known.index(validation.one_of(f"run={run}: trial", name, known))]


def _errors(place: folder.PromotionFolder, stage: str, candidates: Sequence[Candidate]) -> Errors:
    found: dict[str, dict[int, float]] = {}
    for candidate in candidates:
        for path in sorted(place.stage(candidate.name, stage).glob("seed-*")):
            error = results.read_seed(path).error
            if error is not None:
                found.setdefault(candidate.name, {})[int(path.name.rpartition("-")[2])] = error
    return found


def _exportable(
    run: Path,
    candidate: Candidate,
    stage: str,
    errors: Mapping[int, float],
    description: Mapping[str, Any],
    *,
    among: int,
) -> Exportable:
    place, about = folder.PromotionFolder(run), description["stages"][stage]
    data, recipe = about["dataset"], about["recipe"]
    errors = dict(sorted(errors.items()))
    seed = min(errors, key=lambda one: errors[one])
    trained = place.seed(candidate.name, stage, seed)
    weights = trained / WEIGHTS_FILE
    has_own = candidate.architecture is not None
    resolution = recipe["evaluation_resolution"] or recipe["resolution"] or data["resolution"]
    return Exportable(
        name=candidate.name,
        architecture=read_architecture(trained.parent / ARCHITECTURE_FILE) if has_own else None,
        timm_name=candidate.timm_name,
        classes=data["classes"],
        resolution=resolution,
        weights=weights if weights.is_file() else None,
        no_weights=f"{weights} is missing",
        dataset=replace(dataset(data), preparation=_preparation(data["name"], stage, resolution)),
        result=Result(
            part="test",
            errors=errors,
            seed=seed,
            epochs=len(results.read_epochs(trained)),
            recipe=recipe,
            among=among,
        ),
        origin={
            "promotion": run.resolve().name,
            "candidate": candidate.name,
            "stage": stage,
            "chosen_from": dict(candidate.origin),
        },
    )


def _preparation(name: str, stage: str, resolution: int) -> str:
    """See `training.full.image_transforms`: images in files are tested so, and those in memory as they are."""
    if stage != IMAGENET or name not in (ImageNet.name, Folder.name):
        return ""
    side = round(resolution / TEST_CROP)
    return f"scaled so that their shorter side has {side} pixels, the central {resolution}x{resolution} cut out of them"
