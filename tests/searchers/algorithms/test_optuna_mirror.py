from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from search_spaces.knobs import Categorical, Float, Integer
from searchers.algorithms.optuna_mirror import Mirror
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.searcher import Problem
from tests.searchers.algorithms.conformance import ToySpace

SPACE = ToySpace(
    name="steps",
    knobs=(
        Categorical(name="kind", choices=("plain", "wide")),
        Float(name="width", low=0.0, high=0.5, step=0.05, when={"kind": ("wide",)}),
        Integer(name="depth", low=2, high=40, step=2),
    ),
)
VALUES = {"kind": "wide", "width": 0.15, "depth": 4}


def record(number: int, outcome: str, errors: dict[int, float] | None = None, **facts: Any) -> TrialRecord:
    return TrialRecord(number=number, outcome=outcome, values=VALUES, errors=errors or {}, facts=facts)


def seen(*records: TrialRecord, objectives: tuple[str, ...] = ("error",), **settings: Any) -> list[FrozenTrial]:
    """The trials that a sampler finds, without the one that it is asked for."""
    found: list[FrozenTrial] = []

    class Spy(RandomSampler):
        def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
            found.extend(study.get_trials(deepcopy=False)[:-1])

    problem = Problem(space=SPACE, objectives=objectives, epochs=4)
    Mirror(problem, lambda seed: Spy(seed=seed), **settings).propose(History(records), np.random.default_rng(0))
    return found


@pytest.mark.parametrize(
    ("outcome", "state", "value"),
    [(COMPLETED, TrialState.COMPLETE, 0.25), (PRUNED, TrialState.PRUNED, 0.25), (RUNNING, TrialState.RUNNING, None)],
)
def test_trials_with_one_objective(outcome: str, state: TrialState, value: float | None) -> None:
    (trial,) = seen(record(0, outcome, {1: 0.5, 2: 0.25}))
    assert (trial.state, trial.value, trial.params) == (state, value, VALUES)
    assert trial.intermediate_values == ({} if outcome == RUNNING else {1: 0.5, 2: 0.25})
    assert not any(excess > 0 for excess in trial.constraints.values())


def test_what_was_refused_is_infeasible() -> None:
    (trial,) = seen(record(0, REFUSED, violations={"params": 0.5}))
    assert (trial.state, trial.value) == (TrialState.PRUNED, None)
    assert max(trial.constraints.values()) == 0.5


def test_what_says_nothing_of_the_space_is_left_out() -> None:
    assert seen(record(0, FAILED, {1: 0.5}), record(1, DUPLICATE, {1: 0.5})) == []
    assert seen(record(0, COMPLETED, {4: 0.5}), objectives=("error", "latency")) == []


def test_with_several_objectives_a_trial_that_was_stopped_breaks_a_constraint_by_what_it_missed() -> None:
    whole, stopped, slow = seen(
        record(0, COMPLETED, {4: 0.5}, params=10),
        record(1, PRUNED, {1: 0.5}, params=10),
        record(2, COMPLETED, {4: 0.5}, params=10, violations={"latency": 0.25}),
        objectives=("error", "params"),
    )
    assert [trial.values for trial in (whole, stopped, slow)] == [[0.5, 10.0]] * 3
    assert {trial.state for trial in (whole, stopped, slow)} == {TrialState.COMPLETE}
    assert [sum(trial.constraints.values()) for trial in (whole, stopped, slow)] == [0, 0.75, 0.25]


def test_who_cannot_deal_with_constraints_is_not_told_of_what_breaks_one() -> None:
    (trial,) = seen(
        record(0, COMPLETED, {4: 0.5}, params=10),
        record(1, PRUNED, {1: 0.5}, params=10),
        record(2, COMPLETED, {4: 0.5}, params=10, violations={"latency": 0.25}),
        record(3, REFUSED, violations={"params": 0.5}),
        objectives=("error", "params"),
        constrained=False,
    )
    assert (trial.values, trial.constraints) == ([0.5, 10.0], {})


def test_it_follows_a_history_as_one_that_is_made_anew_sees_it() -> None:
    problem = Problem(space=SPACE, epochs=4)
    mirror, history = Mirror(problem, lambda seed: RandomSampler(seed=seed)), History()
    for put in (
        record(0, RUNNING), record(1, RUNNING), record(2, RUNNING),
        record(1, COMPLETED, {4: 0.5}, violations={"latency": 0.25}), record(0, FAILED), record(2, PRUNED, {1: 0.75}),
        record(3, RUNNING),
    ):  # fmt: skip
        history.put(put)
        mirror.propose(history, np.random.default_rng(0))

    def known(trials: list[FrozenTrial]) -> list[Any]:
        of_use = [t for t in trials if t.state != TrialState.FAIL]
        return [(t.state, t.values, t.intermediate_values, t.constraints, t.params) for t in of_use]

    assert known(mirror.study().trials) == known(seen(*history))


def test_a_proposal_has_the_knobs_that_are_active_and_no_rounding_errors() -> None:
    mirror = Mirror(Problem(space=SPACE), lambda seed: RandomSampler(seed=seed))
    found = [mirror.propose(History(), np.random.default_rng(seed)) for seed in range(40)]
    assert {tuple(values) for values in found} == {("kind", "depth"), ("kind", "width", "depth")}
    widths = {values["width"] for values in found if "width" in values}
    assert widths <= {0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5}
    assert len(widths) > 5
