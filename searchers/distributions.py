"""Knobs in Optuna's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from search_spaces.knobs import Categorical, Integer, Knob, Value


def distribution(knob: Knob) -> BaseDistribution:
    """What Optuna draws the values of a knob from."""
    if isinstance(knob, Categorical):
        return CategoricalDistribution(knob.choices)
    if isinstance(knob, Integer):
        return IntDistribution(knob.low, knob.high, step=knob.step, log=knob.log)
    return FloatDistribution(knob.low, knob.high, step=knob.step, log=knob.log)


def suggest(trial: Trial, knob: Knob) -> Value:
    """A value of a knob, drawn by the sampler of the trial's study."""
    if isinstance(knob, Categorical):
        return cast(Value, trial.suggest_categorical(knob.name, knob.choices))
    if isinstance(knob, Integer):
        return trial.suggest_int(knob.name, knob.low, knob.high, step=knob.step, log=knob.log)
    return trial.suggest_float(knob.name, knob.low, knob.high, step=knob.step, log=knob.log)


def parameters(knobs: tuple[Knob, ...], values: Mapping[str, Value]) -> dict[str, Any]:
    """The `params` and `distributions` of a trial with these knob values."""
    known = {knob.name: knob for knob in knobs}
    return {"params": dict(values), "distributions": {name: distribution(known[name]) for name in values}}
