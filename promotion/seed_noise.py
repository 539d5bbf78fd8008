"""How far full training agrees with itself from seed to seed, and what that leaves a proxy to reach."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from promotion.rank_correlation import Array, Correlation, Measure, bootstrapped, correlation, kendall, spearman

FEWEST = 3
"""Architectures that a correlation needs: the order of two is either kept or reversed."""
_DECIMALS = 12


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """What the noise between seeds leaves to be reached."""

    tau: Correlation = field(default_factory=Correlation)
    """Kendall's tau-b between the rankings of single seeds, mean over the pairs of seeds."""
    rho: Correlation = field(default_factory=Correlation)
    """The same for Spearman's rho."""
    tau_reachable: float | None = None
    """Tau that a proxy without any error would have with the mean over these seeds, see `reachable`."""
    rho_reachable: float | None = None
    """The same for Spearman's rho."""
    reason: str | None = None
    """Why there is none."""


def mean_over_seeds(errors: Array) -> Array:
    """Mean of the finite errors of each row (architecture); NaN for a row that has none.

    Rounded to 12 decimals, so that the same errors in another order are a tie.
    """
    finite = np.isfinite(errors)
    with np.errstate(invalid="ignore"):
        means: Array = np.where(finite, errors, 0).sum(axis=1) / finite.sum(axis=1)
    return means.round(_DECIMALS)


def ceiling(errors: Array, counts: Array) -> Ceiling:
    """The agreement between seeds.

    Args:
        errors: (architectures, seeds), NaN or infinite where a training failed.
        counts: bootstrap resamples of the architectures, (resamples, architectures).
    """
    seeds = errors.shape[1]
    if seeds < 2:
        return Ceiling(reason="one seed: the noise between seeds is not known; train with two or more")
    finite = np.isfinite(errors)
    tau = _between_seeds(kendall, errors, counts)
    rho = _between_seeds(spearman, errors, counts)
    if tau.value is None or rho.value is None:
        return Ceiling(reason=f"no two seeds rank the same {FEWEST} architectures")
    per_architecture = float(finite.sum(axis=1).mean())
    return Ceiling(
        tau=tau,
        rho=rho,
        tau_reachable=reachable(tau.value, per_architecture, _tau_to_r, _r_to_tau),
        rho_reachable=reachable(rho.value, per_architecture, _rho_to_r, _r_to_rho),
    )


def reachable(between: float, seeds: float, to_r: Callable[[float], float], from_r: Callable[[float], float]) -> float:
    """Agreement that the true ranking would have with the ranking by the mean over seeds.

    An error is taken to be the architecture's true error plus noise of its seed. The correlation r between two single
    seeds is then the reliability of one; that of the mean over m seeds is m r / (1 + (m - 1) r) (Spearman, Correlation
    calculated from faulty data, 1910; Brown, Some experimental results in the correlation of mental abilities, 1910),
    and what has no noise of its own correlates with that mean as the square root of it (Spearman, The proof and
    measurement of association between two things, 1904). This holds for Pearson's r, so that a rank correlation goes
    there and back by the relations of the bivariate normal distribution: r = sin(pi tau / 2) = 2 sin(pi rho / 6)
    (Kendall, Rank correlation methods, 1948, chapter 9). Agreement below 0 counts as none.

    Args:
        between: rank correlation between single seeds.
        seeds: m, how many there are.
        to_r: from that rank correlation to Pearson's r.
        from_r: its inverse.
    """
    r = max(0.0, to_r(between))
    return from_r(math.sqrt(seeds * r / (1 + (seeds - 1) * r)))


def _between_seeds(measure: Measure, errors: Array, counts: Array) -> Correlation:
    """Mean over the pairs of seeds, each over the architectures that both have."""
    values, resampled = [], []
    for one, other in itertools.combinations(errors.T, 2):
        both = np.isfinite(one) & np.isfinite(other)
        if both.sum() >= FEWEST:
            value, of_resamples = bootstrapped(measure, one[both], other[both], counts[:, both])
            values.append(value)
            resampled.append(of_resamples)
    if not np.isfinite(values).any():
        return Correlation()
    return correlation(float(_mean(np.array(values))), _mean(np.array(resampled)), len(errors))


def _mean(values: Array) -> Array:
    """Over the first axis, of what is defined there."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)
    return mean


def _tau_to_r(tau: float) -> float:
    return math.sin(math.pi * tau / 2)


def _r_to_tau(r: float) -> float:
    return 2 / math.pi * math.asin(min(1.0, r))


def _rho_to_r(rho: float) -> float:
    return 2 * math.sin(math.pi * rho / 6)


def _r_to_rho(r: float) -> float:
    return 6 / math.pi * math.asin(min(1.0, r) / 2)
