"""How good an untrained architecture is expected to be, after results of others: a model of their order.

The model is linear in the features of the adjacency, with a penalty that the results themselves set (Bayesian ridge
regression: MacKay, Neural Computation 1992), which is a Gaussian process with a linear kernel. It is of the places of
the results as quantiles of the normal distribution, not of their errors, so an outlier does no harm, and trials of
unequal fidelity fit in: the place is that of `searchers.record.place`, where what was trained further comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from searchers.algorithms.trials import Following, Trials
from searchers.features import features
from searchers.history import History
from searchers.objectives import ERROR
from searchers.record import TrialRecord, place
from searchers.searcher import Problem
from seqconv import Architecture

Array = NDArray[np.float64]
FEWEST = 16
"""Results below which nothing is predicted."""
MOST = 1024
"""Results that a search's predictor is fitted to, the latest ones: what a proposal costs stays bounded."""
FOLDS, REPEATS = 5, 4
"""Of cross-validation."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A linear function of feature vectors, for F features."""

    means: Array
    """(F,) of the features, over what it was fitted to."""
    weights: Array
    """(F,) by how much the place changes with a feature."""

    def __call__(self, rows: Array) -> Array:
        """(n,) expected places for (n, F) features: lower is better, 0 is the mean of what it was fitted to.

        The unit is the standard deviation of the places.
        """
        expected: Array = (rows - self.means) @ self.weights
        return expected


def vectors(architectures: Sequence[Architecture]) -> Array:
    """(n, F) features of architectures of equally many stages."""
    return np.array([list(features(architecture).values()) for architecture in architectures])


def fit(rows: Array, results: Sequence[float] | Array) -> Predictor:
    """The predictor after results.

    Args:
        rows: (n, F) features.
        results: of each row, lower is better; only their order counts.
    """
    from sklearn.linear_model import BayesianRidge

    means, spread = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(spread > 1e-9, spread, np.inf)  # what never changes says nothing
    model = BayesianRidge().fit((rows - means) / scale, _normal(results))
    return Predictor(means=means, weights=model.coef_ / scale)


def cross_validated(rows: Array, results: Sequence[float] | Array, *, seed: int = 0) -> Array:
    """(n,) for each row what is expected of it after the other folds alone, mean over several ways to divide.

    Args:
        rows: (n, F) features, n at least `FOLDS`.
        results: of each row, lower is better.
        seed: of the folds.
    """
    from sklearn.model_selection import RepeatedKFold
    from threadpoolctl import threadpool_limits

    values = np.asarray(results, dtype=np.float64)
    total = np.zeros(len(rows))
    with threadpool_limits(limits=1):
        for others, own in RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=seed).split(rows):
            total[own] += fit(rows[others], values[others])(rows[own])
    return total / REPEATS


def scoring(problem: Problem) -> Callable[[History], Callable[[Architecture], float] | None]:
    """From the history of a search to a score of architectures, higher is better; None while there are few results.

    Raises:
        ValueError: several objectives.
    """
    if problem.objectives != (ERROR,):
        names = ", ".join(problem.objectives)
        raise ValueError(f"prefilter=predictor predicts the error alone, and objective is [{names}]: leave it out")
    import sklearn.linear_model  # noqa: F401 - before the pools of threads are looked for
    from threadpoolctl import ThreadpoolController

    threads = ThreadpoolController()
    follow = Following(lambda: _Results(problem))

    def scored(history: History) -> Callable[[Architecture], float] | None:
        results = follow(history)
        with threads.limit(limits=1):  # matrices this small gain nothing from more
            model = results.model(history)
        return None if model is None else lambda architecture: -float(model(vectors([architecture]))[0])

    return scored


class _Results(Trials):
    """Results with their features, and the model of them."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.objectives)
        self._space = problem.space
        self._rows: dict[int, Array] = {}
        self._model: Predictor | None = None
        self._fitted = 0

    def model(self, history: History) -> Predictor | None:
        """Of the latest results; fitted anew where there are more."""
        if len(self.results) >= FEWEST and len(self.results) > self._fitted:
            records = [history[number] for number in self.results[-MOST:]]
            self._model = fit(np.stack([self._row(record) for record in records]), placed(records))
            self._fitted = len(self.results)
        return self._model

    def _row(self, record: TrialRecord) -> Array:
        if record.number not in self._rows:
            [self._rows[record.number]] = vectors([self._space.decode(record.values)])
        return self._rows[record.number]


def placed(records: Sequence[TrialRecord]) -> Array:
    """Place of each from the best, 0; equal results share one. See `searchers.record.place`."""
    keys = [place(record)[:-1] for record in records]  # without the number
    order = {key: i for i, key in enumerate(sorted(set(keys)))}
    return np.array([order[key] for key in keys], dtype=np.float64)


def _normal(results: Sequence[float] | Array) -> Array:
    """Places as quantiles of the normal distribution; equal results share the mean of theirs."""
    quantiles: Array = norm.ppf((rankdata(results) - 0.5) / len(results))
    return quantiles
