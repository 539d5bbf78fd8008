"""The whole configuration of a promotion, as plain objects; `promote.py` makes it from conf/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from searchers.config import AUTO, Dataset, RayBackend, Resources, folder_name
from seqconv import validation
from training.full.recipe import Recipe

CIFAR, IMAGENET = "cifar", "imagenet"
STAGES = (CIFAR, IMAGENET)
"""In their order: what does best in one reaches the next."""
MEASURES = ("params", "macs")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How a stage trains, and on what.

    Raises:
        ValueError: a recipe or a data set that is none.
    """

    recipe: Recipe
    """How."""
    dataset: Dataset
    """On what."""

    def __post_init__(self) -> None:
        """Hydra makes of an entry whatever its `_target_` says, and leaves a mapping where that is removed."""
        for name, fits in (("recipe", isinstance(self.recipe, Recipe)), ("dataset", hasattr(self.dataset, "load"))):
            if not fits:
                raise ValueError(f"{name} must be an option of its group, see --help; got {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class PromoteConfig:
    """Everything that `python promote.py` was told.

    Raises:
        ValueError: a field of the wrong kind or out of range, naming it.
    """

    cifar: Stage | None
    """The stage that trains architectures as they are; None where it does not run."""
    imagenet: Stage | None
    """The stage that trains what the architectures stand for on ImageNet; None where it does not run."""
    resources: Resources
    backend: RayBackend
    run: str | None
    """Folder of the search that top, pareto and trials choose from."""
    top: int | None
    """So many of its best trials."""
    pareto: list[str] | None
    """Its Pareto front of the error and these costs."""
    trials: list[int] | None
    """Its trials of these numbers."""
    presets: list[str]
    """Named architectures."""
    files: list[str]
    """Architecture files, or folders that hold one."""
    timm: list[str]
    """Models of timm."""
    stages: list[str]
    """What is trained for: some of cifar and imagenet, in this order."""
    seeds: int
    """Trainings of each candidate in each stage."""
    keep: int | None
    """How many of a stage reach the next one; None is all."""
    target: float
    """What the ImageNet network of a CIFAR architecture is to cost."""
    measure: str
    """What that counts: params or macs."""
    processes: int
    """Of one training; each has `resources`."""
    concurrency: int | None
    """Trainings at a time; None is as many as the resources hold."""
    out: str | None
    """Folder of the promotion; None is one under promotions/."""
    plain: Mapping[str, Any] = field(default_factory=dict)
    """The same configuration as plain data, for config.yaml."""

    def __post_init__(self) -> None:
        self._check_stages()
        for name, kind in (("resources", Resources), ("backend", RayBackend)):
            if not isinstance(getattr(self, name), kind):
                got = repr(getattr(self, name))
                raise ValueError(f"{name} must be an option of its group, see --help; got {got}")
        if self.resources.gpu == AUTO:
            raise ValueError(f"resources.gpu={AUTO} is of searches; a promotion takes a number, or null")
        for name in ("run", "out"):
            if getattr(self, name) is not None:
                folder_name(name, getattr(self, name))
        for name in ("top", "keep", "concurrency"):
            if getattr(self, name) is not None:
                validation.integer(name, getattr(self, name))
        validation.integer("seeds", self.seeds)
        validation.integer("processes", self.processes)
        validation.number("target", self.target, low=1, high=1e12)
        validation.one_of("measure", self.measure, MEASURES)

    @property
    def chosen_stages(self) -> dict[str, Stage]:
        """The stages that run, in their order."""
        stages = {name: getattr(self, name) for name in self.stages}
        return {name: stage for name, stage in stages.items() if stage is not None}

    def _check_stages(self) -> None:
        given: Any = self.stages
        if not isinstance(given, (list, tuple)) or not given or list(given) != [n for n in STAGES if n in given]:
            raise ValueError(f"stages must be [cifar], [imagenet] or [cifar,imagenet], got {given!r}")
        for name in self.stages:
            if not isinstance(getattr(self, name), Stage):
                raise ValueError(f"{name} must have a recipe and a dataset, got {getattr(self, name)!r}")
