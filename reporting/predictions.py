"""How well the results of a search can be predicted from the architectures, and what a prediction thinks of others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import norm, rankdata

from promotion.rank_correlation import Array, Correlation, bootstrapped, correlation, counts_of, draws, spearman
from promotion.transfer import reached, spread
from reporting.runs import Run, Trial
from search_spaces.budget import Budget
from search_spaces.plain import from_dict
from search_spaces.space import SearchSpace, sample
from searchers.predictor import FEWEST, cross_validated, fit, placed, vectors
from seqconv import Architecture, measure

_RESAMPLES = 500
_MOST = 6
"""Epochs that are looked at."""
_SAMPLE = 1000
"""Random architectures of the space that are scored."""
_JUDGED = 200
"""Of these, from the best down, as many at most are held against the budget."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Rank correlations of what is known at an epoch with an error, over the trials that have it."""

    epoch: int
    """Whose errors the predictor learns from."""
    n: int
    """Trials with an error there."""
    predictor: Correlation
    """Cross-validated, with the errors of that epoch."""
    macs: Correlation
    """Of few multiply-adds, with the errors of that epoch: above 0 where large networks are better."""
    later: int | None = None
    """A later epoch that enough trials have reached; None where there is none."""
    later_n: int = 0
    """How many those are."""
    error: Correlation = field(default_factory=Correlation)
    """Of the errors of the epoch alone, with those of the later one."""
    both: Correlation = field(default_factory=Correlation)
    """Of their sum with the prediction, both in standard deviations, with the errors of the later one."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """An architecture that was not tried."""

    architecture: Architecture
    """Of the run's space."""
    better_than: float
    """Share of the results that it is expected to be better than."""


def usable(run: Run) -> list[Trial]:
    """Trials with a result whose architecture can be read; of the most common number of stages."""
    known = [trial for trial in run.trained if trial.architecture is not None]
    stages = [len(trial.architecture.stages) for trial in known if trial.architecture]
    common = max(stages, key=stages.count, default=0)
    return [trial for trial, number in zip(known, stages, strict=True) if number == common]


def rungs(run: Run, trials: Sequence[Trial]) -> Iterator[Rung]:
    """For each of some epochs that enough trials have reached."""
    counts = {epoch: n for epoch, n in reached([trial.record for trial in trials]).items() if n >= FEWEST}
    rows = features_of(trials)
    last = max(counts, default=0)
    for epoch in spread(list(counts), _MOST):
        own, errors = _errors(trials, epoch)
        expected = cross_validated(rows[own], errors)
        costs = np.array([trials[i].record.measures().get("macs", np.nan) for i in own])
        known = Rung(epoch=epoch, n=len(own), predictor=_rho(expected, errors), macs=_rho(-costs, errors))
        if epoch < last:
            went_on, later = _errors([trials[i] for i in own], last)
            alone = norm.ppf((rankdata(errors) - 0.5) / len(errors))
            both = (alone + expected)[went_on]
            known = replace(known, later=last, later_n=len(went_on), error=_rho(alone[went_on], later),
                            both=_rho(both, later))  # fmt: skip
        yield known


def overall(trials: Sequence[Trial]) -> tuple[Correlation, Correlation]:
    """Of the cross-validated predictor, and of the multiply-adds, with the places of all results."""
    places = placed([trial.record for trial in trials])
    costs = np.array([trial.record.measures().get("macs", np.nan) for trial in trials])
    return _rho(cross_validated(features_of(trials), places), places), _rho(-costs, places)


def suggestions(run: Run, trials: Sequence[Trial], number: int) -> list[Suggestion]:
    """The best by prediction of a random sample of the space, within the budget, without those that were tried.

    Raises:
        ValueError: the space, or its budget, cannot be read.
    """
    space = from_dict(run.description.get("search_space"))
    settings = run.settings.get("budget") or {}
    budget = Budget(**{name: bounds for name, bounds in settings.items() if name != "_target_"})
    found = list(_untried(space, {trial.record.fingerprint for trial in run.trials}, len(_stages(trials))))
    if not found:
        return []
    model = fit(features_of(trials), placed([trial.record for trial in trials]))
    expected = model(vectors(found))
    order = np.argsort(expected, kind="stable")[:_JUDGED]
    allowed = (i for i in order if not budget.bounds() or _affordable(found[i], budget, run))
    return [
        Suggestion(architecture=found[i], better_than=float(norm.cdf(-expected[i])))
        for i, _ in zip(allowed, range(number), strict=False)
    ]


def features_of(trials: Sequence[Trial]) -> Array:
    """(n, F)."""
    return vectors([trial.architecture for trial in trials if trial.architecture is not None])


def _stages(trials: Sequence[Trial]) -> Sequence[object]:
    architecture = trials[0].architecture
    return () if architecture is None else architecture.stages


def _errors(trials: Sequence[Trial], epoch: int) -> tuple[list[int], Array]:
    """Positions of the trials that have a finite error after the epoch, and these errors."""
    errors = np.array([trial.record.errors.get(epoch, np.nan) for trial in trials])
    return [int(i) for i in np.flatnonzero(np.isfinite(errors))], errors[np.isfinite(errors)]


def _rho(expected: Array, errors: Array) -> Correlation:
    """Spearman's, with its interval; none where something is not known."""
    if not np.isfinite(expected).all() or len(errors) < 3:
        return Correlation()
    # Cross-validation leaves differences as small as rounding errors where it predicts nothing.
    value, resampled = bootstrapped(
        spearman, expected.round(9), errors, counts_of(draws(len(errors), _RESAMPLES, seed=0))
    )
    return correlation(value, resampled, len(errors))


def _untried(space: SearchSpace, tried: set[str | None], stages: int) -> Iterator[Architecture]:
    rng, seen = random.Random(0), set(tried)
    for _ in range(_SAMPLE):
        try:
            architecture = space.decode(sample(space, rng))
        except ValueError:
            continue
        if architecture.fingerprint() not in seen and len(architecture.stages) == stages:
            seen.add(architecture.fingerprint())
            yield architecture


def _affordable(architecture: Architecture, budget: Budget, run: Run) -> bool:
    data = run.description.get("dataset") or {}
    return not budget.refusal(measure(architecture, resolution=data.get("resolution"), classes=data.get("classes")))
