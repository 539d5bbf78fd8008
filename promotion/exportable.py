"""A model that is to be exported, and what is known of it: the same whether it was searched, promoted or neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from seqconv import Architecture


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a model was trained on."""

    name: str
    """Such as cifar10."""
    class_names: tuple[str, ...]
    """Name of each logit."""
    mean: tuple[float, ...]
    """Of each channel, for pixel values from 0 to 1: to be subtracted."""
    std: tuple[float, ...]
    """Of each channel: to be divided by, after that."""
    preparation: str = ""
    """How the images that the errors are of were brought to their size, where they came in others."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a model reached."""

    part: str
    """Images that the errors are of: validation or test."""
    errors: Mapping[int, float]
    """Share that is classified wrongly, by seed; one for each training of this model."""
    seed: int
    """The training whose weights are exported."""
    epochs: int
    """It was trained for."""
    recipe: Mapping[str, Any]
    """How, plain data."""
    among: int = 1
    """Candidates from which this one was chosen by these errors."""

    @property
    def mean(self) -> float:
        """Mean error over the seeds."""
        return fmean(self.errors.values())

    @property
    def std(self) -> float | None:
        """Its sample standard deviation; None of one seed."""
        return stdev(self.errors.values()) if len(self.errors) > 1 else None

    def describe(self) -> str:
        """One line."""
        epochs = f"{self.epochs} epoch{'s' * (self.epochs > 1)}"
        if self.std is None:
            return f"{self.part} error {100 * self.mean:.2f} % after {epochs} (one seed)"
        spread = f"{100 * self.mean:.2f} ± {100 * self.std:.2f} % over {len(self.errors)} seeds"
        return f"{self.part} error {spread} after {epochs}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for model.yaml."""
        summary = {"part": self.part, "mean": self.mean, "std": self.std, "epochs": self.epochs}
        return {**summary, "errors": dict(self.errors), "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """One model; it has either an architecture or a timm_name."""

    name: str
    """What it is called in its run; a file name."""
    architecture: Architecture | None = None
    """What to build."""
    timm_name: str | None = None
    """Name of the model in timm, where it is one."""
    classes: int
    """Number of logits."""
    resolution: int
    """Side of the images in pixels."""
    weights: Path | None = None
    """File with its state_dict, model.pt or model.safetensors; None where there is none."""
    no_weights: str = "it was not trained"
    """Why, for the user."""
    dataset: Dataset | None = None
    """None where it was not trained."""
    result: Result | None = None
    """None where it was not trained."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from, plain data: search and trial; promotion, candidate and stage; preset; or file."""

    def describe(self) -> str:
        """One line."""
        return f"timm: {self.timm_name}" if self.architecture is None else self.architecture.describe()
