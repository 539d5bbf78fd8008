"""How well errors of a cheap training, the proxy, rank architectures as those of full training do.

Every error here is a fraction. A training that failed or has not been done is NaN, None or infinite: it is left out and
counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from promotion.rank_correlation import (
    Array,
    Correlation,
    bootstrapped,
    correlation,
    counts_of,
    draws,
    kendall,
    spearman,
)
from promotion.seed_noise import FEWEST, Ceiling, ceiling, mean_over_seeds
from seqconv import validation

Errors = Sequence[float | None]
RESAMPLES = 2000
"""Of the bootstrap, where nothing else is asked for."""
_FEWEST_RESAMPLES, _MOST_STEPS = 200, 5e8


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well proxy errors rank architectures as their full errors do, a full error being the mean over seeds."""

    n: int
    """Architectures compared: those that have an error on both sides."""
    left_out: int
    """Architectures that have none on one side."""
    seeds: int
    """Full trainings that each architecture was meant to get."""
    failed: int
    """Full trainings without an error, among those of the architectures compared."""
    tau: Correlation = field(default_factory=Correlation)
    """Kendall's tau-b."""
    rho: Correlation = field(default_factory=Correlation)
    """Spearman's rho."""
    chance: float | None = None
    """Probability of a tau this high or higher between rankings that have nothing to do with each other: Kendall's
    test, exact for up to 33 architectures without ties. For a handful of them it says more than the interval does."""
    top: Mapping[int, float] = field(default_factory=dict)
    """By k, the share of the proxy's best k that is among the best k after full training, for every k below n."""
    regret: float | None = None
    """Full error of the proxy's best, minus the lowest full error."""
    ceiling: Ceiling = field(default_factory=Ceiling)
    """What the noise between seeds leaves to be reached."""
    resamples: int = 0
    """Bootstrap resamples in which there is a correlation."""
    reason: str | None = None
    """Why there is no correlation."""


def agreement(
    proxy: Errors | Array,
    full_by_seed: Sequence[Errors] | Array,
    *,
    top: Sequence[int] = (1, 3, 5),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """How well `proxy` ranks architectures as full training does.

    The intervals are percentile intervals of a bootstrap over architectures, each with all its seeds. A resample in
    which all errors of a side are equal, such as one architecture drawn n times, has no correlation: it is left out,
    and `Agreement.resamples` counts the rest. The bootstrap cannot show a disagreement that is not in the sample: where
    all architectures are in the same order its interval is [1, 1], and for a handful `chance` is what to look at. Below
    5 architectures there is no interval. Above 500, where intervals are narrow, resamples become fewer, down to 200.

    Ties are broken by chance: `top` and `regret` are means over the ways to do so.

    Args:
        proxy: an error per architecture.
        full_by_seed: per architecture, an error for each seed; the same seeds in the same order.
        top: the k of the top-k overlap.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: not one row an architecture, rows of several lengths, or a k or a number of resamples below 1.
    """
    before, after = _one_row_each(proxy, full_by_seed)
    sizes = [validation.integer("top", k) for k in top]
    validation.integer("resamples", resamples)
    ranked = np.isfinite(before) & np.isfinite(after).any(axis=1)
    before, after = before[ranked], after[ranked]
    n, seeds = after.shape
    counted = {"n": n, "seeds": seeds, "left_out": len(ranked) - n, "failed": int(np.sum(~np.isfinite(after)))}
    if n < FEWEST:
        reason = f"a ranking needs {FEWEST} architectures with both errors, there are {n}"
        return Agreement(**counted, ceiling=Ceiling(reason=reason), reason=reason)
    means = mean_over_seeds(after)
    counts = counts_of(draws(n, min(resamples, max(_FEWEST_RESAMPLES, int(_MOST_STEPS / n**2))), seed))
    tau, of_resamples = bootstrapped(kendall, before, means, counts)
    return Agreement(
        **counted,
        tau=correlation(tau, of_resamples, n),
        rho=correlation(*bootstrapped(spearman, before, means, counts), n),
        chance=None if math.isnan(tau) else float(stats.kendalltau(before, means, alternative="greater").pvalue),
        top={k: float(_best(before, k) @ _best(means, k)) / k for k in sizes if k < n},
        regret=float(_best(before, 1) @ means - means.min()),
        ceiling=ceiling(after, counts),
        resamples=int(np.sum(np.isfinite(of_resamples))),
        reason=_nothing_to_rank("proxy", before) or _nothing_to_rank("full", means),
    )


def table_by_seed(errors: Sequence[Errors] | Array) -> Array:
    """(architectures, seeds), with NaN for what is None or infinite.

    Raises:
        ValueError: rows of several lengths, or empty ones.
    """
    lengths = {len(row) for row in errors}
    if len(lengths) > 1 or 0 in lengths:
        allowed = "every row must have one error for each seed, NaN where there is none"
        raise ValueError(f"errors by seed: {allowed}; got rows of {', '.join(map(str, sorted(lengths)))}")
    table: Array = np.array([list(row) for row in errors], dtype=np.float64).reshape(len(errors), -1 if lengths else 0)
    table[~np.isfinite(table)] = np.nan
    return table


def _one_row_each(proxy: Errors | Array, full_by_seed: Sequence[Errors] | Array) -> tuple[Array, Array]:
    before, after = np.array(proxy, dtype=np.float64), table_by_seed(full_by_seed)
    if len(before) != len(after):
        raise ValueError(
            f"proxy and full_by_seed must have an entry an architecture, got {len(before)} and {len(after)}"
        )
    return before, after


def _best(values: Array, k: int) -> Array:
    """The share of ways to break ties in which each is among the k lowest."""
    boundary = np.partition(values, k - 1)[k - 1]
    below, tied = values < boundary, values == boundary
    share: Array = below + tied * (k - below.sum()) / tied.sum()
    return share


def _nothing_to_rank(side: str, errors: Array) -> str | None:
    return f"every {side} error is {errors[0]:g}: there is nothing to rank" if np.ptp(errors) == 0 else None
