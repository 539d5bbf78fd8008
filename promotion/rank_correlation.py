"""Kendall's tau-b and Spearman's rho of many bootstrap resamples at once.

A resample is a row of counts: how often each item was drawn. Copies of one item are tied with themselves in both
rankings, and tau-b leaves such pairs out of its numerator and of both its denominators; so a resample never agrees with
itself more for the copies in it, and its tau is one quadratic form of its counts.

Letters: R resamples, N items, K distinct values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Measure = Callable[[Array, Array, Array], Array]
"""(x, y, counts) -> a rank correlation for each row of counts."""
LEVEL = 0.95
"""Confidence level of every interval."""
FEWEST_FOR_INTERVAL = 5
"""Items below which there is no interval. Resamples of fewer hold two or three distinct ones, which can correlate in a
few ways alone: their percentiles often look surer than those of many items, such as [1, 1] of three in order."""
_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A rank correlation with its confidence interval; None where it is undefined or there are too few."""

    value: float | None = None
    """From -1, reversed, to 1, the same order."""
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    """Upper end of the 95 % interval."""


def draws(items: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Which items each resample holds, with replacement: (R, N) indices, a function of the arguments alone."""
    return np.random.default_rng(seed).integers(items, size=(resamples, items))


def counts_of(indices: NDArray[np.int64]) -> Array:
    """How often each of N items stands in each row of (R, N) indices."""
    resamples, items = indices.shape
    cells = indices + items * np.arange(resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=resamples * items).reshape(resamples, items).astype(np.float64)


def kendall(x: Array, y: Array, counts: Array) -> Array:
    """Tau-b between x and y (N) in each resample of `counts` (R, N); NaN where either has one value alone.

    Takes R * N * N steps.
    """
    agreeing, x_pairs, y_pairs = np.zeros((3, len(counts)))
    for start in range(0, len(x), _BLOCK):  # a block of the N x N pairs at a time, for the memory
        block = slice(start, start + _BLOCK)
        x_order, y_order = np.sign(x[:, None] - x[block]), np.sign(y[:, None] - y[block])
        agreeing += np.sum(counts @ (x_order * y_order) * counts[:, block], axis=1)
        x_pairs += np.sum(counts @ np.abs(x_order) * counts[:, block], axis=1)
        y_pairs += np.sum(counts @ np.abs(y_order) * counts[:, block], axis=1)
    return _ratio(agreeing, x_pairs, y_pairs)


def spearman(x: Array, y: Array, counts: Array) -> Array:
    """Rho between x and y (N) in each resample of `counts` (R, N), ties at their mean rank; NaN as in `kendall`."""
    mean_rank = (counts.sum(axis=1, keepdims=True) + 1) / 2
    x_rank, y_rank = _mean_ranks(x, counts) - mean_rank, _mean_ranks(y, counts) - mean_rank
    together, x_spread, y_spread = (
        np.sum(counts * product, axis=1) for product in (x_rank * y_rank, x_rank**2, y_rank**2)
    )
    return _ratio(together, x_spread, y_spread)


def bootstrapped(measure: Measure, x: Array, y: Array, counts: Array) -> tuple[float, Array]:
    """Kendall's or Spearman's measure of x and y as they are, and of each resample."""
    measured = measure(x, y, np.vstack([np.ones(len(x)), counts]))
    return float(measured[0]), measured[1:]


def correlation(value: float, resampled: Array, items: int) -> Correlation:
    """The value of so many items with the percentile interval of those resamples in which it is defined."""
    defined = resampled[np.isfinite(resampled)]
    if math.isnan(value):
        return Correlation()
    if items < FEWEST_FOR_INTERVAL or not defined.size:
        return Correlation(value=value)
    low, high = np.quantile(defined, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Correlation(value=value, low=float(low), high=float(high))


def _ratio(together: Array, x: Array, y: Array) -> Array:
    """Together / sqrt(x * y), which rounding must not bring past 1."""
    with np.errstate(invalid="ignore"):
        return np.clip(together / np.sqrt(x * y), -1, 1)


def _mean_ranks(values: Array, counts: Array) -> Array:
    """Rank of each item in each resample, from 1, equal values at the mean of their ranks: (R, N)."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    by_value = counts[:, np.argsort(group, kind="stable")]
    drawn = np.add.reduceat(by_value, np.cumsum(sizes) - sizes, axis=1)  # (R, K)
    mean_rank: Array = np.cumsum(drawn, axis=1) - (drawn - 1) / 2
    return mean_rank[:, group]
