"""A history as an Optuna study in memory, from which any of Optuna's samplers proposes.

The study follows the history: it can be made anew from it at any time, and holds nothing else. Duplicates and failed
trials are left out. A trial that a scheduler stopped is of use where there is one objective, to TPE, which ranks it by
how far it came; with several, it enters as one that breaks a constraint by the share of the epochs that it missed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.knobs import Value, active
from searchers.distributions import parameters, suggest
from searchers.history import History
from searchers.record import COMPLETED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.searcher import Problem

_STUDY, _EXCESS = "history", "excess"


class Mirror:
    """The study, and proposals from it.

    Args:
        problem: what the search is over.
        sampler: makes the sampler from a seed, for one proposal.
        constrained: whether it is told of trials that break a constraint; those are left out otherwise.
    """

    def __init__(self, problem: Problem, sampler: Callable[[int], BaseSampler], *, constrained: bool = True) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._problem, self._sampler, self._constrained = problem, sampler, constrained
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, study_name=_STUDY, directions=["minimize"] * len(problem.objectives)
        )
        self._study_id = self._storage.get_study_id_from_name(_STUDY)
        self._ids: dict[int, int] = {}
        self._position = 0

    def propose(self, history: History, generator: np.random.Generator) -> dict[str, Value]:
        """A knob vector, drawn by a sampler made for it."""
        self._follow(history)
        return self.ask(generator)

    def ask(self, generator: np.random.Generator) -> dict[str, Value]:
        """A knob vector from the study as it is."""
        self._study.sampler = self._sampler(int(generator.integers(2**32)))
        trial = self._study.ask()
        values: dict[str, Value] = {}
        for knob in self._problem.space.knobs:
            if active(knob, values):
                values[knob.name] = knob.check(suggest(trial, knob))  # without rounding errors
        self._study.tell(trial, state=TrialState.FAIL)  # whether it will be trained, the history tells
        return values

    def study(self) -> optuna.Study:
        """The study as it is, without what Optuna remembers of it from a proposal to the next."""
        return optuna.load_study(study_name=_STUDY, storage=self._storage)

    def add(self, trial: FrozenTrial) -> int:
        """Put a trial into the study; its Optuna id."""
        return self._storage.create_new_trial(self._study_id, template_trial=trial)

    def _follow(self, history: History) -> None:
        changed, self._position = history.since(self._position)
        for number in changed:
            trial = self._frozen(history[number])
            if trial is None or (trial.constraints and not self._constrained):
                self._drop(number)
            elif number not in self._ids:
                self._ids[number] = self.add(trial)
            elif trial.state.is_finished() and not self._storage.get_trial(self._ids[number]).state.is_finished():
                self._end(self._ids[number], trial)

    def _frozen(self, record: TrialRecord) -> FrozenTrial | None:
        """A record in Optuna's words; None for one that says nothing of the space."""
        given = parameters(self._problem.space.knobs, record.values)
        if record.outcome == RUNNING:
            return create_trial(state=TrialState.RUNNING, **given)
        if record.outcome == REFUSED:
            excess = sum(record.facts.get("violations", {}).values())
            return create_trial(state=TrialState.PRUNED, constraints={_EXCESS: float(excess)}, **given)
        if record.outcome not in (COMPLETED, PRUNED):
            return None
        return ended(record, self._problem)

    def _drop(self, number: int) -> None:
        """A trial that is there as running, and came to nothing."""
        if number in self._ids and not self._storage.get_trial(self._ids[number]).state.is_finished():
            self._storage.set_trial_state_values(self._ids[number], TrialState.FAIL)

    def _end(self, trial_id: int, trial: FrozenTrial) -> None:
        for step, value in trial.intermediate_values.items():
            self._storage.set_trial_intermediate_value(trial_id, step, value)
        for name, value in trial.system_attrs.items():
            self._storage.set_trial_system_attr(trial_id, name, value)
        self._storage.set_trial_state_values(trial_id, trial.state, trial.values)


def ended(record: TrialRecord, problem: Problem) -> FrozenTrial | None:
    """A trained record in Optuna's words; None where it lacks an objective."""
    measures = record.measures()
    if not set(problem.objectives) <= measures.keys():
        return None
    values = [measures[name] for name in problem.objectives]
    excess = sum(record.facts.get("violations", {}).values())
    given = parameters(problem.space.knobs, record.values)
    if len(values) == 1:
        state = TrialState.COMPLETE if record.outcome == COMPLETED else TrialState.PRUNED
        errors = dict(record.errors)
    else:
        state, errors = TrialState.COMPLETE, {}
        excess += 1 - record.epochs / max(problem.epochs, record.epochs + 1) if record.outcome == PRUNED else 0.0
    constraints = {_EXCESS: float(excess)} if excess > 0 else {}
    return create_trial(state=state, values=values, intermediate_values=errors, constraints=constraints, **given)
