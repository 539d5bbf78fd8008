"""CMA-ES with margin (Hamano et al., GECCO 2022), by the package cmaes.

Each knob is a coordinate that counts its values from 0. The distribution is learned anew from the history: completed
and stopped trials by number make the generations, of which the algorithm needs the order of the results alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from cmaes import CMAwM

from search_spaces.knobs import Knob, Value, ordered
from searchers.algorithms.unseen import unseen
from searchers.history import History
from searchers.objectives import ERROR
from searchers.record import COMPLETED, PRUNED, TrialRecord, place
from searchers.searcher import Problem, Propose
from seqconv import validation

_WHERE = "guided, tpe, evolution and random take them"


@dataclass(frozen=True, kw_only=True)
class CmaEs:
    """Covariance matrix adaptation for ordered knobs without conditions.

    Raises:
        ValueError: a field out of range, naming it.
    """

    population: int | None = None
    """Trials of a generation; null: 4 + 3 ln(number of knobs)."""
    sigma: float = 0.25
    """First standard deviation, as a share of each knob's range."""

    name: ClassVar[str] = "cma_es"

    def __post_init__(self) -> None:
        if self.population is not None:
            validation.integer("searcher.population", self.population, low=4)
        validation.number("searcher.sigma", self.sigma, low=0, open_low=True)

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes.

        Raises:
            ValueError: several objectives, conditional knobs, knobs without an order, or no knob with two values.
        """
        if problem.objectives != (ERROR,):
            raise ValueError("searcher=cma_es minimises the error alone; guided, tpe and nsga2 take several objectives")
        for knob in problem.space.knobs:
            if knob.when:
                raise ValueError(f"searcher=cma_es takes no knob with a condition, such as {knob.name}; {_WHERE}")
            if not ordered(knob):
                raise ValueError(f"searcher=cma_es takes no knob without an order, such as {knob.name}; {_WHERE}")
        axes = [_Axis(knob) for knob in problem.space.knobs]
        if not any(axis.end > 0 for axis in axes):
            raise ValueError(f"searcher=cma_es takes no space without a knob of several values; {_WHERE}")
        return unseen(problem, _Distribution(axes, self).propose)


class _Axis:
    """A knob as a coordinate in [0, end]: positions of its values, or its logarithm or range where it is continuous."""

    def __init__(self, knob: Knob) -> None:
        self.knob = knob
        self.values: tuple[Value, ...] = ()
        if knob.count is not None and knob.count <= len(knob.probes()):
            self.values = tuple(sorted(knob.probes(), key=float))
        self.end = float(len(self.values) - 1) if self.values else 1.0
        self.step = 1.0 if self.values else 0.0

    def position(self, value: Value) -> float:
        """Of a value."""
        if self.values:
            return float(self.values.index(value))
        low, high = (self._scaled(float(end)) for end in self.knob.ends())
        return (self._scaled(float(value)) - low) / (high - low)

    def value(self, position: float) -> Value:
        """At a position."""
        if self.values:
            return self.values[min(max(round(position), 0), len(self.values) - 1)]
        low, high = (self._scaled(float(end)) for end in self.knob.ends())
        scaled = low + min(max(position, 0.0), 1.0) * (high - low)
        raw: Any = math.exp(scaled) if getattr(self.knob, "log", False) else scaled
        ends = sorted(float(end) for end in self.knob.ends())
        bounded = min(max(raw, ends[0]), ends[1])
        return round(bounded) if isinstance(self.knob.ends()[0], int) else float(bounded)

    def _scaled(self, value: float) -> float:
        return math.log(value) if getattr(self.knob, "log", False) else value


class _Distribution:
    """The distribution after the whole generations of a history."""

    def __init__(self, axes: Sequence[_Axis], config: CmaEs) -> None:
        self._axes = [axis for axis in axes if axis.end > 0]
        self._constant = {axis.knob.name: axis.value(0.0) for axis in axes if axis.end <= 0}
        self._names = [axis.knob.name for axis in axes]
        self._config = config
        self._size = config.population or 4 + int(3 * math.log(len(self._axes)))
        self._told: list[int] = []
        self._position = 0
        self._optimizer = self._begin()

    def propose(self, history: History, generator: np.random.Generator) -> Mapping[str, Value]:
        changed, self._position = history.since(self._position)
        if any(_useful(history[number]) for number in changed):
            self._learn(history)
        self._optimizer._cma._rng = np.random.RandomState(int(generator.integers(2**32)))
        drawn, _ = self._optimizer.ask()
        values = {axis.knob.name: axis.value(float(x)) for axis, x in zip(self._axes, drawn, strict=True)}
        return {name: {**values, **self._constant}[name] for name in self._names}

    def _learn(self, history: History) -> None:
        useful = [record.number for record in history if _useful(record)]
        whole = useful[: len(useful) // self._size * self._size]
        if whole[: len(self._told)] != self._told:  # an earlier trial ended later, and moves the bounds of generations
            self._told, self._optimizer = [], self._begin()
        for start in range(len(self._told), len(whole), self._size):
            generation = [history[number] for number in whole[start : start + self._size]]
            ranked = sorted(generation, key=place)
            places = {record.number: float(i) for i, record in enumerate(ranked)}
            self._optimizer.tell([(self._encode(record), places[record.number]) for record in generation])
        self._told = whole

    def _encode(self, record: TrialRecord) -> Any:
        return np.array([axis.position(record.values[axis.knob.name]) for axis in self._axes])

    def _begin(self) -> CMAwM:
        ends = np.array([axis.end for axis in self._axes])
        scale = ends * self._config.sigma
        return CMAwM(
            mean=ends / 2,
            sigma=1.0,
            bounds=np.stack([np.zeros_like(ends), ends], axis=1),
            steps=np.array([axis.step for axis in self._axes]),
            population_size=self._size,
            cov=np.diag(scale**2),
            seed=0,
        )


def _useful(record: TrialRecord) -> bool:
    return record.outcome in (COMPLETED, PRUNED) and record.error is not None
