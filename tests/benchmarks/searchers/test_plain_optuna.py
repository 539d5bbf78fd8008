"""Optuna, told of a search as its users tell it."""

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from plain_optuna import SAMPLERS, PlainOptuna
from simulator import Setting, simulate

from searchers.history import History
from searchers.record import DUPLICATE, REFUSED
from searchers.session import RUT
from tests.benchmarks.searchers.test_simulator import Strict
from tests.benchmarks.searchers.toy import problem, toy


def random_sampler(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


class OneCorner(optuna.samplers.RandomSampler):
    """Proposes the same vector again and again."""

    def sample_independent(self, *_: Any) -> int:
        return 1


def told(sampler: Any, **settings: Any) -> tuple[list[optuna.trial.FrozenTrial], History]:
    """The study after a search; what its last trial came to is told with the next proposal."""
    history, over = History(), problem(settings.pop("objectives", ("error",)))
    plain = PlainOptuna(over, sampler)
    simulate(toy(), over, plain, Setting(evaluations=4, seed=5), history=history, **settings)
    plain(history, np.random.default_rng(0))
    return plain._study.trials[:-1], history


def test_the_study_holds_what_happened() -> None:
    trials, history = told(random_sampler)
    assert len(trials) == len(history)
    assert {DUPLICATE, REFUSED} <= {record.outcome for record in history}
    for trial, record in zip(trials, history, strict=True):
        assert trial.params == record.values
        if record.outcome == REFUSED:
            assert trial.state == TrialState.FAIL
        else:
            assert (trial.state, trial.value) == (TrialState.COMPLETE, record.error)
            assert trial.intermediate_values == record.errors


def test_several_objectives_are_told() -> None:
    trials, history = told(random_sampler, objectives=("error", "macs"))
    complete = [(trial, record) for trial, record in zip(trials, history, strict=True) if record.outcome != REFUSED]
    assert [trial.values for trial, _ in complete] == [[r.error, r.measures()["macs"]] for _, r in complete]


def test_a_trial_that_was_stopped_is_pruned() -> None:
    trials, history = told(random_sampler, scheduler=Strict())
    stopped = [trial for trial, record in zip(trials, history, strict=True) if record.epochs == 1]
    assert {trial.state for trial in stopped} == {TrialState.PRUNED}
    assert {trial.value for trial in stopped} == {0.9, 0.8}, "Optuna keeps the last report"


def test_what_was_drawn_blindly_is_added() -> None:
    trials, history = told(lambda seed: OneCorner(seed=seed))
    blind = [trial for trial in trials if trial.params != {"a": 1, "b": 1}]
    assert len(blind) >= 3
    assert len(trials) == len(history) > RUT


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_decides(name: str) -> None:
    first, again = (told(SAMPLERS[name])[0] for _ in range(2))
    assert [trial.params for trial in first] == [trial.params for trial in again]
