"""The algorithms that propose knob values, as configuration; Optuna implements them, see `searchers.study`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seqconv import validation


@dataclass(frozen=True, kw_only=True)
class Random:
    """Uniform proposals (Bergstra & Bengio, JMLR 2012), the baseline that every other searcher has to beat."""

    name: ClassVar[str] = "random"


@dataclass(frozen=True, kw_only=True)
class Tpe:
    """Multivariate tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Falkner et al., ICML 2018).

    Trials that the scheduler stopped rank behind the completed ones by how far they came; refused ones behind those.

    Raises:
        ValueError: a field out of range, naming it.
    """

    startup_trials: int = 10
    """Random proposals before the first model."""
    candidates: int = 24
    """Draws from the model of the good trials, of which the most promising one is proposed."""

    name: ClassVar[str] = "tpe"

    def __post_init__(self) -> None:
        validation.integer("searcher.startup_trials", self.startup_trials, low=0)
        validation.integer("searcher.candidates", self.candidates)


Sampler = Random | Tpe
