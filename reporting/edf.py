"""Empirical distributions of errors, of groups of trials at matched budgets.

As in "On Network Design Spaces for Visual Recognition" (Radosavovic et al., ICCV 2019): what two kinds of networks
reach is compared by the share of each that is below an error, with weights that give both the same complexities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEVEL = 0.95
"""Confidence level of the bands, pointwise."""
RESAMPLES = 500
MOST_BINS, FEWEST_IN_BIN = 4, 3
GRID = 120
"""Errors at which a distribution is evaluated."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Of one group."""

    errors: Array
    """Where it is evaluated: the same for all groups."""
    share: Array
    """Of the group, by weight, at or below each of the errors."""
    low: Array
    """Lower end of the band."""
    high: Array
    """Upper end of the band."""
    n: int
    """Trials of the group."""


def bins_of(costs: Mapping[str, Sequence[float]]) -> dict[str, NDArray[np.int64]]:
    """A bin of the cost for each trial of each group, so that every bin holds some of every group.

    The bins are quantiles of all trials; there are as many as that allows, at most four, and one where it allows none.
    """
    every = np.concatenate([np.asarray(values, dtype=float) for values in costs.values()])
    for number in range(MOST_BINS, 1, -1):
        edges = np.unique(np.quantile(every, np.linspace(0, 1, number + 1)[1:-1]))
        bins = {name: np.searchsorted(edges, np.asarray(values, dtype=float)) for name, values in costs.items()}
        if all(np.bincount(of, minlength=len(edges) + 1).min() >= FEWEST_IN_BIN for of in bins.values()):
            return bins
    return {name: np.zeros(len(values), dtype=np.int64) for name, values in costs.items()}


def distributions(
    errors: Mapping[str, Sequence[float]], bins: Mapping[str, NDArray[np.int64]], *, seed: int = 0
) -> dict[str, Distribution]:
    """The distribution of each group, in which every bin weighs the same; with a bootstrap within the bins.

    Args:
        errors: of the trials of each group, which has at least one.
        bins: of the same trials; a group has trials in all bins.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    every = np.concatenate([np.asarray(values, dtype=float) for values in errors.values()])
    grid = np.linspace(every.min(), every.max(), GRID)
    return {
        name: _distribution(np.asarray(values, dtype=float), bins[name], grid, rng) for name, values in errors.items()
    }


def _distribution(errors: Array, bins: NDArray[np.int64], grid: Array, rng: np.random.Generator) -> Distribution:
    numbers = np.unique(bins)
    share, resampled = np.zeros(len(grid)), np.zeros((RESAMPLES, len(grid)))
    for number in numbers:
        below = (errors[bins == number][:, None] <= grid).astype(float)
        n = len(below)
        share += below.mean(axis=0) / len(numbers)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        resampled += drawn @ below / (n * len(numbers))
    low, high = np.quantile(resampled, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return Distribution(errors=grid, share=share, low=low, high=high, n=len(errors))
