"""Tree-structured Parzen estimator, by Optuna."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from search_spaces.knobs import Value
from searchers.algorithms.optuna_mirror import Mirror
from searchers.algorithms.unseen import unseen
from searchers.distributions import distribution
from searchers.history import History
from searchers.objectives import ERROR
from searchers.record import COMPLETED, PRUNED, TrialRecord
from searchers.searcher import Problem, Propose
from seqconv import validation

FIDELITIES = ("all", "highest")


@dataclass(frozen=True, kw_only=True)
class Tpe:
    """Multivariate TPE (Bergstra et al., NeurIPS 2011; Falkner et al., ICML 2018), also for several objectives.

    Raises:
        ValueError: a field out of range, naming it.
    """

    startup_trials: int = 10
    """Random proposals before the first model."""
    candidates: int = 24
    """Draws from the model of the good trials, of which the most promising one is proposed."""
    fidelity: str = "all"
    """all: trials that were stopped early rank behind the completed ones by how far they came; highest: the model is of
    the errors at the last epoch that enough trials reached, as in BOHB."""

    name: ClassVar[str] = "tpe"

    def __post_init__(self) -> None:
        validation.integer("searcher.startup_trials", self.startup_trials, low=0)
        validation.integer("searcher.candidates", self.candidates)
        validation.one_of("searcher.fidelity", self.fidelity, FIDELITIES)

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes.

        Raises:
            ValueError: fidelity highest with several objectives.
        """
        if self.fidelity == "all":
            return unseen(problem, Mirror(problem, functools.partial(self._sampler, problem=problem)).propose)
        if problem.objectives != (ERROR,):
            raise ValueError("searcher.fidelity=highest is for objective=error alone; all takes several objectives")
        return unseen(problem, _AtHighest(problem, self).propose)

    def _sampler(self, seed: int, problem: Problem) -> BaseSampler:
        return _Sampler(
            problem,
            seed=seed,
            multivariate=True,
            constant_liar=True,
            n_startup_trials=self.startup_trials,
            n_ei_candidates=self.candidates,
        )


class _Sampler(TPESampler):
    """Optuna's, told what every trial has in common: the knobs without a condition. It would compare all trials."""

    def __init__(self, problem: Problem, **settings: Any) -> None:
        super().__init__(**settings)
        self._joint = {knob.name: distribution(knob) for knob in problem.space.knobs if not knob.when}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: found for name, found in sorted(self._joint.items()) if not found.single()}


class _AtHighest:
    """TPE over the errors at one epoch: the last one that enough trials reached (Falkner et al., 2018)."""

    def __init__(self, problem: Problem, config: Tpe) -> None:
        self._problem, self._config = problem, config
        self._enough = max(config.startup_trials, len(problem.space.knobs) + 2)
        self._history = History()
        self._epoch = 0
        self._mirror = self._new_mirror()
        self._position = 0

    def propose(self, history: History, generator: np.random.Generator) -> dict[str, Value]:
        changed, self._position = history.since(self._position)
        epoch = self._highest(history)
        if epoch != self._epoch:
            self._epoch, changed = epoch, list(range(len(history)))
            self._history, self._mirror = History(), self._new_mirror()
        for number in sorted(changed):
            self._history.put(self._at(history[number]))
        return self._mirror.propose(self._history, generator)

    def _new_mirror(self) -> Mirror:
        return Mirror(self._problem, functools.partial(self._config._sampler, problem=self._problem))

    def _highest(self, history: History) -> int:
        reached: dict[int, int] = {}
        for record in history:
            if record.outcome in (COMPLETED, PRUNED):
                for epoch in record.errors:
                    reached[epoch] = reached.get(epoch, 0) + 1
        return max((epoch for epoch, count in reached.items() if count >= self._enough), default=0)

    def _at(self, record: TrialRecord) -> TrialRecord:
        """A record as if that epoch had been its last; what did not reach it ranks behind."""
        if record.outcome not in (COMPLETED, PRUNED) or self._epoch not in record.errors:
            return record
        errors = {epoch: error for epoch, error in record.errors.items() if epoch <= self._epoch}
        return replace(record, outcome=COMPLETED, errors=errors)
