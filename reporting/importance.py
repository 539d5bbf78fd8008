"""How much the error depends on each knob, as Optuna estimates it from trials of any kind."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)

from search_spaces.knobs import Value

PED_ANOVA, FANOVA = "PED-ANOVA", "fANOVA"
FEWEST = 10
"""Trials below which nothing is said."""
_GOOD, _FEWEST_GOOD = 0.1, 5
_TREES, _DEPTH = 64, 6
"""Of the forest of fANOVA. With Optuna's default depth of 64, a thousand trials take 40 s."""
_FEW = 16
"""Values of a knob up to which each is one of its own, rather than a place on a line."""
Vectors = Sequence[Mapping[str, Value]]


def importances(vectors: Vectors, errors: Sequence[float], *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Shares that add up to 1, by method and knob; the most important first. None where nothing differs.

    PED-ANOVA (Watanabe et al., IJCAI 2023) tells for every knob, conditional ones too, how much the best tenth of the
    trials, or the best five, differs from all. fANOVA (Hutter et al., ICML 2014) tells which share of the variance of
    the error a knob explains, of those that every trial has.

    Args:
        vectors: values of the active knobs of each trial, of which there are at least `FEWEST`.
        errors: of each trial, finite.
        seed: of the forest of fANOVA.
    """
    distributions = _distributions(vectors) if len(set(errors)) > 1 else {}
    study = optuna.create_study()
    study.add_trials(
        optuna.trial.create_trial(
            params={name: vector[name] for name in vector if name in distributions},
            distributions={name: distributions[name] for name in vector if name in distributions},
            value=error,
        )
        for vector, error in zip(vectors, errors, strict=True)
    )
    quantile = max(_GOOD, min(0.5, _FEWEST_GOOD / len(vectors)))
    methods: dict[str, tuple[BaseImportanceEvaluator, list[str]]] = {
        PED_ANOVA: (PedAnovaImportanceEvaluator(target_quantile=quantile), list(distributions))
    }
    if common := [name for name in distributions if all(name in vector for vector in vectors)]:
        methods[FANOVA] = (FanovaImportanceEvaluator(n_trees=_TREES, max_depth=_DEPTH, seed=seed), common)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that evaluators are experimental
        return {
            name: get_param_importances(study, evaluator=evaluator, params=knobs)
            for name, (evaluator, knobs) in methods.items()
            if knobs
        }


def _distributions(vectors: Vectors) -> dict[str, BaseDistribution]:
    """From what was observed of each knob that has more than one value."""
    values: dict[str, dict[Value, None]] = {}
    for vector in vectors:
        for name, value in vector.items():
            values.setdefault(name, {})[value] = None
    return {name: _distribution(list(observed)) for name, observed in values.items() if len(observed) > 1}


def _distribution(observed: list[Value]) -> BaseDistribution:
    numbers = [float(value) for value in observed if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(observed) or len(observed) <= _FEW:
        return CategoricalDistribution(observed)
    return FloatDistribution(min(numbers), max(numbers))
