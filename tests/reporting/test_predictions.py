from __future__ import annotations

from typing import Any

import pytest

from reporting.predictions import overall, rungs, suggestions, usable
from reporting.runs import Run
from searchers.record import COMPLETED, PRUNED
from tests.reporting.records import run, trial
from tests.search_spaces.examples import categorical, one_stage

WINDOWS = (1, 2, 3, 4, 5, 6, 8, "dense", "log", "harmonic", "dilated(2, 2)", "dilated(4, 2)")


def searched(number: int = 30, *, stopped: int = 10, **about: Any) -> Run:
    """Errors that fall with the window, and those of the first epoch by as much again as luck wants."""
    trials = []
    for i in range(number):
        width = 1 + 7 * i % 12
        first, last = 0.8 - 0.01 * width + 0.02 * (i % 3), 0.5 - 0.01 * width
        errors = (first,) if i < stopped else (first, last)
        outcome = PRUNED if i < stopped else COMPLETED
        trials.append(trial(i, outcome, *errors, window=width, macs=1000 - width, params=1, fingerprint=f"f{i}"))
    return run(*trials, **about)


def space(**about: Any) -> dict[str, Any]:
    return {"search_space": one_stage(widening=2, groups=8, window=categorical(*WINDOWS)).to_dict(), **about}


def test_the_predictor_is_told_from_the_multiply_adds() -> None:
    trials = usable(searched(stopped=0))
    predictor, macs = overall(trials)
    assert predictor.value is not None and macs.value is not None
    assert predictor.value > 0.8
    assert predictor.low is not None and predictor.low <= predictor.value
    assert macs.value < -0.7


def test_each_epoch_with_its_own_errors_and_with_the_last() -> None:
    early, late = rungs(searched(), usable(searched()))
    assert (early.epoch, early.n, early.later, early.later_n) == (1, 30, 2, 20)
    assert (late.epoch, late.n, late.later) == (2, 20, None)
    assert late.error.value is None and late.both.value is None
    assert None not in (early.error.value, early.both.value, late.predictor.value)
    assert early.both.value > early.error.value  # type: ignore[operator]
    assert late.predictor.value > 0.8  # type: ignore[operator]


def test_an_epoch_that_few_reached_is_left_out() -> None:
    found = list(rungs(searched(stopped=20), usable(searched(stopped=20))))
    assert [(rung.epoch, rung.later) for rung in found] == [(1, None)]


def test_costs_that_were_not_noted() -> None:
    trials = [trial(i, COMPLETED, 0.5 - 0.01 * i, window=1 + i % 12) for i in range(20)]
    _, macs = overall(trials)
    assert macs.value is None


def test_what_was_not_tried_is_suggested() -> None:
    of = searched(description=space())
    first, second = suggestions(of, usable(of), 2)
    assert first.better_than >= second.better_than > 0.5
    assert first.architecture.stages[0].window.to_plain() in ("dense", "8", 8)
    tried = first.architecture.fingerprint()
    again = run(*of.trials, trial(99, PRUNED, 0.5, window=1, fingerprint=tried), description=space())
    assert tried not in [one.architecture.fingerprint() for one in suggestions(again, usable(of), 9)]


def test_the_budget_is_kept() -> None:
    """Of all 12 windows, the best four have more than 20,000 parameters but for one."""
    dataset = {"resolution": 8, "classes": 3}
    free = searched(description=space(dataset=dataset))
    settings = {"budget": {"_target_": "search_spaces.budget.Budget", "params": [None, 20_000]}}
    bounded = searched(description=space(dataset=dataset), settings=settings)
    of_all, within = suggestions(free, usable(free), 4), suggestions(bounded, usable(bounded), 1)
    windows = [one.architecture.stages[0].window.to_plain() for one in of_all]
    assert windows == ["dense", "harmonic", 8, "dilated(4, 2)"]
    assert within == of_all[3:]


@pytest.mark.parametrize("description", [{}, {"search_space": {"space": "cells"}}])
def test_a_space_that_cannot_be_read(description: dict[str, Any]) -> None:
    of = searched(description=description)
    with pytest.raises(ValueError, match=r"^search_space[: ]"):
        suggestions(of, usable(of), 1)
