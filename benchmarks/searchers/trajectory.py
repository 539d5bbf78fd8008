"""What a simulated search did, trial by trial, and what is read off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from table import Floats, Ints, Table

from searchers.objectives import hypervolume, pareto_front

WORST, MEDIAN = "worst", "median"


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Trials that were trained, in the order in which they ended."""

    rows: Ints
    """Places in the table."""
    epochs: Ints
    """For how long each was trained."""
    observed: Floats
    """The error that each reported last."""
    seconds: Floats
    """Simulated time at which each ended."""
    ended: float
    """Simulated time up to which the search is known: its last trial's end, or the time that it was given."""
    proposals: int
    """Those that led to no training included."""
    duplicates: int
    """Proposals that were answered from the history."""
    refused: int
    """Proposals that are not in the table."""
    proposing: float
    """Seconds of real time that the searcher took."""
    exhausted: bool
    """It ended because nothing new was proposed any more."""

    def __len__(self) -> int:
        return len(self.rows)


def incumbents(trajectory: Trajectory, table: Table) -> Ints:
    """After each trial the place in the trajectory of the lowest error observed so far, the earliest of equal ones.

    Only what was trained to the end counts: an error after fewer epochs is no error of the same thing. -1 before there
    is any.
    """
    errors = np.where(trajectory.epochs == table.epochs[-1], trajectory.observed, np.inf)
    before = np.append(np.inf, np.minimum.accumulate(errors))[: len(errors)]
    improves = errors < before
    return np.maximum.accumulate(np.where(improves, np.arange(len(errors)), -1))


class Measure(Protocol):
    """Reads a number off a search after each of its trials; lower is better."""

    name: str
    """For tables."""
    label: str
    """For plots."""
    start: float
    """Before the first trial has ended."""

    def after_each(self, trajectory: Trajectory) -> Floats:
        """The numbers."""


class Regret:
    """By how many points the incumbent's true error is above the lowest of the table.

    Before there is an incumbent it is the highest of the table: a network that was not trained is a guess.

    Args:
        table: what is searched.
    """

    name = "regret"
    label = "regret, points of validation error"

    def __init__(self, table: Table) -> None:
        self._table = table
        self._regret = 100 * (table.truth - table.truth.min())
        self.start = float(self._regret.max())

    def after_each(self, trajectory: Trajectory) -> Floats:
        """The regret of each incumbent."""
        best = incumbents(trajectory, self._table)
        return np.where(best >= 0, self._regret[trajectory.rows[best]], self.start)


class Volume:
    """The hypervolume that a search still lacks, as a share of that of the table's Pareto front.

    Args:
        table: whose true objectives count.
        objectives: their names.
        reference: up to where volume counts: `worst`, the worst of each objective, or `median`, where only what is
            better than half of the table in every objective adds anything.
    """

    start = 1.0
    whole: float
    """Of the table's front, in units of the ranges; 0 where nothing is better than the reference in every objective."""

    def __init__(self, table: Table, objectives: Sequence[str], reference: str = WORST) -> None:
        self.name = f"volume_{reference}"
        self.label = f"missing hypervolume of ({', '.join(objectives)}), reference {reference}"
        values = table.objectives(objectives)
        point = values.max(axis=0) if reference == WORST else np.median(values, axis=0)
        low = values.min(axis=0)
        self._values = (values - low) / np.where(point > low, point - low, 1)
        self._point = np.where(point > low, 1.0, 0.0).tolist()
        self.whole = hypervolume(self._values[pareto_front(self._values)], self._point)
        self._last = table.epochs[-1]

    def after_each(self, trajectory: Trajectory) -> Floats:
        """What is missing; trials that were stopped early add nothing."""
        missing = np.full(len(trajectory), self.start)
        front = np.empty((0, self._values.shape[1]))
        now = self.start
        for i, (row, epochs) in enumerate(zip(trajectory.rows, trajectory.epochs, strict=True)):
            vector = self._values[row]
            if epochs == self._last and not (front <= vector).all(axis=1).any():
                front = np.vstack([front[~(vector <= front).all(axis=1)], vector])
                now = 1 - hypervolume(front, self._point) / self.whole
            missing[i] = now
        return missing
