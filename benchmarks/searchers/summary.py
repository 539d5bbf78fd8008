"""From trajectories to numbers: means over the repeats, against evaluations and against simulated time."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from table import Floats
from trajectory import Measure, Trajectory

EVALUATIONS, HOURS = "evaluations", "hours"
TIMES = 200
"""Points in time at which a curve is known."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The mean of a measure over the searches of a contender."""

    measure: str
    """Its name."""
    contender: str
    """As it was given."""
    axis: str
    """evaluations, or hours of simulated time."""
    points: Floats
    """Of that axis."""
    means: Floats
    """At each point."""
    errors: Floats
    """Standard errors of the means."""

    def at(self, budget: float) -> tuple[float, float]:
        """Mean and standard error at the last point up to a budget."""
        place = max(int(np.searchsorted(self.points, budget * (1 + 1e-9), side="right")) - 1, 0)
        return float(self.means[place]), float(self.errors[place])

    def first_within(self, goal: float) -> float | None:
        """The first point whose mean is at most a goal; None where there is none."""
        reached = np.flatnonzero(self.means <= goal)
        return float(self.points[reached[0]]) if reached.size else None


def by_evaluations(contender: str, searches: Sequence[Trajectory], measure: Measure, evaluations: int) -> Curve:
    """After every trial. A search that ended earlier stays at what it had found."""
    points = np.arange(1, evaluations + 1)
    values = [_from_start(search, measure)[np.minimum(points, len(search))] for search in searches]
    return _curve(measure.name, contender, EVALUATIONS, points.astype(float), np.stack(values))


def by_hours(contender: str, searches: Sequence[Trajectory], measure: Measure, end: float) -> Curve:
    """At even points in simulated time up to `end`, in hours."""
    points = np.linspace(0, end, TIMES + 1)[1:]
    values = []
    for search in searches:
        # The last point is where a search ends: a rounding error must not leave its last trial out.
        ended = np.searchsorted(search.seconds, 3600 * points * (1 + 1e-9), side="right")
        values.append(_from_start(search, measure)[ended])
    return _curve(measure.name, contender, HOURS, points, np.stack(values))


def write(path: Path, rows: Sequence[Any]) -> None:
    """Dataclasses of one kind as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _from_start(search: Trajectory, measure: Measure) -> Floats:
    """By the number of trials that have ended, from 0."""
    return np.append(measure.start, measure.after_each(search))


def _curve(measure: str, contender: str, axis: str, points: Floats, values: Floats) -> Curve:
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(points), np.nan)
    return Curve(
        measure=measure,
        contender=contender,
        axis=axis,
        points=points,
        means=values.mean(axis=0),
        errors=spread / np.sqrt(len(values)),
    )
