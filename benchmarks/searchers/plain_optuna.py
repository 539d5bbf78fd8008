"""Optuna as its users run it: one study and one sampler for a whole search, ask, train, tell. The outside reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import TrialState, create_trial

from search_spaces.knobs import Value, active
from searchers.distributions import parameters, suggest
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, RUNNING, TrialRecord
from searchers.searcher import Problem

SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "optuna_tpe": lambda seed: TPESampler(seed=seed),
    "optuna_nsga2": lambda seed: NSGAIISampler(seed=seed),
}
"""Optuna's samplers with the settings that they have of themselves, by the names that they have here."""


class PlainOptuna:
    """Proposes for one search.

    A duplicate is told to Optuna with the result that is known, as a training would have told it.

    Args:
        problem: what the search is over.
        sampler: makes the sampler from a seed.
    """

    def __init__(self, problem: Problem, sampler: Callable[[int], BaseSampler]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._problem, self._sampler = problem, sampler
        self._study: Any = None
        self._asked: dict[int, optuna.Trial] = {}
        self._position = 0

    def __call__(self, history: History, generator: np.random.Generator) -> Mapping[str, Value]:
        """The next knob vector."""
        if self._study is None:
            sampler = self._sampler(int(generator.integers(2**32)))
            self._study = optuna.create_study(directions=["minimize"] * len(self._problem.objectives), sampler=sampler)
        changed, self._position = history.since(self._position)
        for number in changed:
            if history[number].outcome != RUNNING:
                self._tell(history[number])
        trial = self._asked[len(history)] = self._study.ask()
        values: dict[str, Value] = {}
        for knob in self._problem.space.knobs:
            if active(knob, values):
                values[knob.name] = suggest(trial, knob)
        return values

    def _tell(self, record: TrialRecord) -> None:
        measures = record.measures()
        is_whole = record.outcome in (COMPLETED, DUPLICATE) and record.epochs == self._problem.epochs
        state = TrialState.COMPLETE if is_whole else TrialState.PRUNED if record.errors else TrialState.FAIL
        values = [measures[name] for name in self._problem.objectives] if is_whole else None
        trial = self._asked.pop(record.number, None)
        if trial is None:  # drawn blindly, to leave a rut
            given = parameters(self._problem.space.knobs, record.values)
            self._study.add_trial(create_trial(state=state, values=values, **given))
            return
        if len(self._problem.objectives) == 1:
            for epoch, error in record.errors.items():
                trial.report(error, epoch)
        self._study.tell(trial, values, state=state)
