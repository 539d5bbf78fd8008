"""The hypervolume of results that come one after the other, without computing it anew for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from searchers.objectives import hypervolume


class Hypervolume:
    """What the vectors so far dominate up to a reference point, see `objectives.hypervolume`.

    A vector that joins the front adds the box between itself and the reference, less what the front dominates of that
    box (While, Bradstreet & Barone, IEEE TEVC 2012).

    Args:
        reference: m numbers; what is not below all of them adds nothing.
    """

    def __init__(self, reference: Sequence[float]) -> None:
        self._reference = np.asarray(reference, dtype=float)
        self._front = np.empty((0, len(self._reference)))
        self.volume = 0.0
        """Of all vectors so far."""

    @property
    def front(self) -> int:
        """How many different vectors below the reference no other one dominates."""
        return len(self._front)

    def add(self, vector: Sequence[float]) -> float:
        """Take one more vector, m numbers, lower is better; returns the volume with it."""
        point = np.asarray(vector, dtype=float)
        if not (point < self._reference).all() or (self._front <= point).all(axis=1).any():
            return self.volume
        shared = hypervolume(np.maximum(self._front, point), self._reference.tolist())
        self.volume += float(np.prod(self._reference - point)) - shared
        self._front = np.vstack([self._front[~(point <= self._front).all(axis=1)], point])
        return self.volume
