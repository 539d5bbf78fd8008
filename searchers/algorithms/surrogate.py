"""A Gaussian process over knob vectors: what a search expects of a configuration, and how sure it is.

The kernel falls exponentially with the distance of two vectors, the sum over the knobs of 0 for equal values and up to
1 for different ones; a knob that is inactive in one of the two counts as different. It has two numbers, a length and
the share of noise, which are those of highest marginal likelihood on a grid (Rasmussen & Williams 2006, chapter 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from search_spaces.knobs import Categorical, Knob, Value, ordered

LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Distances over which the correlation falls to 1/e."""
NOISES = (1e-3, 1e-2, 1e-1, 0.3)
"""Variances of the noise, in units of the signal's."""
_NOWHERE = 2.0
"""In place of the position of an inactive knob: as far from every position as two of them can be, or farther."""


class Encoding:
    """Knob vectors as rows of numbers: positions in [0, 1], one column a knob, NaN where inactive.

    Args:
        knobs: of the space.
    """

    def __init__(self, knobs: Sequence[Knob]) -> None:
        self._knobs = knobs
        self._ordered = np.array([ordered(knob) for knob in knobs], dtype=bool)
        self._places = [_places(knob) for knob in knobs]

    def rows(self, vectors: Sequence[Mapping[str, Value]]) -> Any:
        """(n, knobs) float64."""
        table = np.full((len(vectors), len(self._knobs)), np.nan)
        for row, values in zip(table, vectors, strict=True):
            for i, knob in enumerate(self._knobs):
                if knob.name in values:
                    row[i] = self._position(i, values[knob.name])
        return table

    def distances(self, a: Any, b: Any) -> Any:
        """(n, m) distances between the rows of a (n, knobs) and b (m, knobs)."""
        a, b = (np.nan_to_num(rows, nan=_NOWHERE) for rows in (a, b))
        total = np.zeros((len(a), len(b)))
        for i, in_order in enumerate(self._ordered):
            gap = np.abs(a[:, i, None] - b[None, :, i])
            total += (0.5 + 0.5 * np.minimum(gap, 1.0)) * (gap > 0) if in_order else gap > 0
        return total

    def _position(self, i: int, value: Value) -> float:
        places = self._places[i]
        if isinstance(places, dict):
            return places[value]
        low, high = places
        return (float(value) - low) / (high - low)


@dataclass(frozen=True)
class Kernel:
    """The two numbers of a Gaussian process."""

    length: float
    """Distance over which the correlation falls to 1/e."""
    noise: float
    """Variance of the noise, in units of the signal's."""

    def __call__(self, distances: Any) -> Any:
        """Correlations at distances."""
        return np.exp(-distances / self.length)


def choose_kernel(distances: Any, targets: Any) -> Kernel:
    """The kernel of highest marginal likelihood.

    Args:
        distances: (n, n) between the observations.
        targets: (n,) with mean 0.
    """
    kernels = [Kernel(length, noise) for length in LENGTHS for noise in NOISES]
    return max(kernels, key=lambda kernel: _likelihood(kernel, distances, targets))


class GaussianProcess:
    """The posterior after observations.

    Args:
        kernel: how far an observation reaches.
        distances: (n, n) between the observations.
        targets: (n,) with mean 0.
    """

    def __init__(self, kernel: Kernel, distances: Any, targets: Any) -> None:
        self._kernel = kernel
        self._factor = cho_factor(_covariance(kernel, distances), lower=True)
        self._weights = cho_solve(self._factor, targets)
        self._scale = max(float(targets @ self._weights) / len(targets), 1e-9)

    def predict(self, distances: Any) -> tuple[Any, Any]:
        """Mean and standard deviation of the signal, without noise.

        Args:
            distances: (m, n) from the points in question to the observations.
        """
        correlation = self._kernel(distances)
        explained = (correlation * cho_solve(self._factor, correlation.T).T).sum(axis=1)
        return correlation @ self._weights, np.sqrt(self._scale * np.maximum(1 - explained, 1e-12))


def _covariance(kernel: Kernel, distances: Any) -> Any:
    return kernel(distances) + kernel.noise * np.eye(len(distances))


def _likelihood(kernel: Kernel, distances: Any, targets: Any) -> float:
    """Up to a constant, with the scale of the signal at its best."""
    factor = cho_factor(_covariance(kernel, distances), lower=True)
    scale = max(float(targets @ cho_solve(factor, targets)) / len(targets), 1e-12)
    return float(-0.5 * len(targets) * np.log(scale) - np.log(np.diag(factor[0])).sum())


def _places(knob: Knob) -> dict[Value, float] | tuple[float, float]:
    """Position by value; the range of a number of many values or without steps."""
    if isinstance(knob, Categorical):
        values = sorted(knob.choices, key=float) if ordered(knob) else list(knob.choices)
        return {value: i / max(len(values) - 1, 1) for i, value in enumerate(values)}
    low, high = (float(end) for end in knob.ends())
    return (low, high) if high > low else (low - 1, low)
