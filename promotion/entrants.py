"""What a stage trains of a candidate, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

from promotion.candidates import Candidate
from promotion.config import CIFAR, IMAGENET
from seqconv import Architecture, Complexity, measure
from seqconv.realisation import imagenet_realisation
from training.full.data import FullData
from training.full.model import ModelSpec
from training.full.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A candidate in a stage."""

    candidate: Candidate
    spec: ModelSpec
    """What is trained."""
    cost: Complexity
    """With the stage's data: its classes and resolution."""

    @property
    def name(self) -> str:
        """The candidate's."""
        return self.candidate.name


def enter(
    candidate: Candidate, stage: str, data: FullData, recipe: Recipe, *, target: float, measure_of: str
) -> Entrant:
    """A candidate as the stage trains it: in the imagenet stage what an architecture for CIFAR stands for there.

    Args:
        candidate: what was chosen.
        stage: cifar or imagenet.
        data: what on.
        recipe: how.
        target: what an ImageNet realisation is to cost.
        measure_of: what that counts, params or macs.

    Raises:
        ValueError: a network that the stage cannot train, naming the candidate.
    """
    resolution = recipe.tested_at(data.resolution)
    try:
        if candidate.architecture is None:
            spec = ModelSpec(timm_name=candidate.timm_name)
            return Entrant(candidate=candidate, spec=spec, cost=_measured(spec, recipe, resolution, data.classes))
        architecture = _of_stage(candidate.architecture, stage, target, measure_of, resolution, data.classes)
        cost = measure(architecture, resolution=resolution, classes=data.classes)
    except ValueError as error:
        raise ValueError(f"candidate {candidate.name}, stage {stage}: {error}") from None
    return Entrant(candidate=candidate, spec=ModelSpec(architecture=architecture), cost=cost)


def _of_stage(
    architecture: Architecture, stage: str, target: float, measure_of: str, resolution: int, classes: int
) -> Architecture:
    if stage == CIFAR and architecture.family != "cifar":
        raise ValueError(f"an architecture of family {architecture.family} is trained by stages=[{IMAGENET}] alone")
    if stage == CIFAR or architecture.family != "cifar":
        return architecture
    return imagenet_realisation(architecture, target=target, measure=measure_of, classes=classes, resolution=resolution)


def _measured(spec: ModelSpec, recipe: Recipe, resolution: int, classes: int) -> Complexity:
    import torch

    from seqconv.complexity import measure_module

    with torch.device("meta"):
        model = spec.build(classes, recipe)
    try:
        return measure_module(model, (3, resolution, resolution))
    except AssertionError as error:  # timm's way to refuse a resolution
        raise ValueError(f"images of {resolution} pixels: {error}") from None
