from __future__ import annotations

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from search_spaces.knobs import Categorical, Float, Integer, Knob
from searchers.distributions import distribution, parameters
from tests.searchers.fakes import SUBGROUPS, drawn, space


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        (Categorical(name="a", choices=(4, "dense", True, 0.5)), CategoricalDistribution((4, "dense", True, 0.5))),
        (Integer(name="a", low=1, high=7, step=3), IntDistribution(1, 7, step=3)),
        (Integer(name="a", low=1, high=100, log=True), IntDistribution(1, 100, log=True)),
        (Float(name="a", low=0.25, high=2.0, step=0.25), FloatDistribution(0.25, 2.0, step=0.25)),
        (Float(name="a", low=1e-4, high=1.0, log=True), FloatDistribution(1e-4, 1.0, log=True)),
        (Float(name="a", low=0.0, high=1.0), FloatDistribution(0.0, 1.0)),
    ],
    ids=str,
)
def test_a_knob_in_the_words_of_optuna(knob: Knob, expected: BaseDistribution) -> None:
    found = distribution(knob)
    assert found == expected
    for value in (*knob.probes(), *knob.ends()):
        assert found._contains(found.to_internal_repr(value))


def test_a_trial_has_the_knobs_that_are_active() -> None:
    of = space(subgroups=SUBGROUPS)
    known = {knob.name: knob for knob in of.knobs}
    seen = set()
    for number in range(8):
        values = drawn(number, of)
        given = parameters(of.knobs, values)
        assert given["params"] == values
        assert given["distributions"] == {name: distribution(known[name]) for name in values}
        trial = create_trial(value=0.5, **given)
        trial._validate()
        assert trial.params == values
        seen.add(len(values))
    assert seen == {4, 5}


def test_the_parameters_of_a_trial_are_its_own() -> None:
    values = drawn(0)
    parameters(space().knobs, values)["params"].clear()
    assert values == drawn(0)
