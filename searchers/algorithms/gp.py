"""Bayesian optimisation with a Gaussian process, by Optuna."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler

from searchers.algorithms.optuna_mirror import Mirror
from searchers.algorithms.unseen import unseen
from searchers.searcher import Problem, Propose
from seqconv import validation


@dataclass(frozen=True, kw_only=True)
class Gp:
    """Gaussian process with expected improvement; several objectives by expected hypervolume improvement.

    A proposal takes seconds after a hundred trials. Only completed trials within the limits enter its model.

    Raises:
        ValueError: a field out of range, naming it.
    """

    startup_trials: int = 10
    """Random proposals before the first model."""

    name: ClassVar[str] = "gp"

    def __post_init__(self) -> None:
        validation.integer("searcher.startup_trials", self.startup_trials, low=1)

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes.

        Raises:
            ValueError: a space with conditional knobs, which its model has no place for.
        """
        conditional = [knob.name for knob in problem.space.knobs if knob.when]
        if conditional:
            others = "guided, tpe, evolution and random take them"
            raise ValueError(
                f"searcher=gp cannot model knobs with a condition, here {', '.join(conditional)}; {others}"
            )
        return unseen(problem, Mirror(problem, self._sampler, constrained=False).propose, tries=2)

    def _sampler(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return GPSampler(seed=seed, n_startup_trials=self.startup_trials, deterministic_objective=False)
