"""Local search (White et al., Exploring the Loss Landscape in Neural Architecture Search, UAI 2021).

From the best of some random trials on, the neighbours of the best one are tried in random order until one is better,
and so on from there; where none is, the search goes on from elsewhere. Which trial that is, is told from the results
alone, however they came about: it is the best *peak*, a trial without a better one among its neighbours, that has an
untried neighbour. Without such a peak the search starts again at random.

With several objectives the untried neighbours of the non-dominated trials are tried (Pareto local search, Paquete et
al., 2004), those of a random one at a time.
"""

from __future__ import annotations

import bisect
import itertools
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from search_spaces.knobs import Value
from searchers.algorithms.heat_map import check_windows, shrink
from searchers.algorithms.mutation import along, directions
from searchers.algorithms.random import draw
from searchers.algorithms.trials import Following, Trials, vector
from searchers.history import History
from searchers.record import COMPLETED, TrialRecord, place
from searchers.searcher import Problem, Propose
from seqconv import validation

_Merit = tuple[bool, int, float, int]


@dataclass(frozen=True, kw_only=True)
class LocalSearch:
    """Tries the neighbours of the best.

    Raises:
        ValueError: a field out of range, naming it.
    """

    starts: int = 10
    """Random trials of which the best is where it begins."""
    heat_map: bool = False
    """Whether windows shrunk to where the weights of the best are come before its neighbours, see `heat_map`."""

    name: ClassVar[str] = "local_search"

    def __post_init__(self) -> None:
        validation.integer("searcher.starts", self.starts)
        validation.boolean("searcher.heat_map", self.heat_map)

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes.

        Raises:
            ValueError: heat_map for a space without windows.
        """
        if self.heat_map:
            check_windows(problem.space)
        several = len(problem.objectives) > 1
        follow = Following[_Front | _Landscape](lambda: _Front(problem) if several else _Landscape(problem))

        def propose(history: History, generator: np.random.Generator) -> dict[str, Value] | None:
            trials = follow(history)
            if trials.started >= self.starts:
                # A seed each, so that what is drawn does not depend on how many were looked at before.
                seed = int(generator.integers(2**63))
                for number in trials.centres(generator):
                    own = np.random.default_rng([seed, number])
                    neighbour = shrink(problem, history[number], trials.tried, own) if self.heat_map else None
                    neighbour = neighbour or trials.untried_neighbour(history[number], own)
                    if neighbour is not None:
                        return neighbour
            return draw(problem, trials.tried, generator)

        return propose


class _Explored(Trials):
    """Trials, and the neighbours of those around which was searched."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.objectives)
        self._problem = problem
        self._neighbours: dict[int, frozenset[str]] = {}

    def untried_neighbour(self, record: TrialRecord, generator: np.random.Generator) -> dict[str, Value] | None:
        """A random one. Only as many neighbours are judged as it takes to find it."""
        ways = directions(self._problem.space, record.values)
        for way in generator.permutation(len(ways)):
            found = along(self._problem, record.values, ways[way])
            untried = [values for fingerprint, values in found.items() if fingerprint not in self.tried]
            if untried:
                return untried[generator.integers(len(untried))]
        self._around(record)
        return None

    def _around(self, record: TrialRecord) -> frozenset[str]:
        """Fingerprints of all neighbours."""
        if record.number not in self._neighbours:
            ways = directions(self._problem.space, record.values)
            found = (along(self._problem, record.values, way) for way in ways)
            self._neighbours[record.number] = frozenset(itertools.chain.from_iterable(found))
        return self._neighbours[record.number]

    def _is_closed(self, number: int) -> bool:
        """Whether it is known that all its neighbours were tried."""
        return number in self._neighbours and self._neighbours[number] <= self.tried


class _Landscape(_Explored):
    """Where the peaks are, for one objective.

    Trials are looked at from the best on. What is a neighbour of one looked at before is no peak; the rest have their
    neighbours looked up. How far that came is kept, and taken back to where a result is put that has come since.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._ranked: list[tuple[_Merit, TrialRecord]] = []
        self._merits: dict[str, _Merit] = {}
        self._place = 0
        self._surpassed: set[int] = set()
        self._passed: set[str] = set()
        self._steps: list[tuple[_Merit, frozenset[str]]] = []

    def centres(self, generator: np.random.Generator) -> Iterator[int]:
        """Peaks that may have untried neighbours, the best first."""
        while self._place < len(self._ranked):
            merit, record = self._ranked[self._place]
            if record.fingerprint not in self._passed:
                if not self._is_closed(record.number) and not self._is_surpassed(merit, record):
                    yield record.number
                passed = self._around(record) - self._passed
                self._passed |= passed
                self._steps.append((merit, passed))
            self._place += 1

    def _compare(self, record: TrialRecord) -> None:
        merit = place(record)
        at = bisect.bisect_left(self._ranked, merit, key=operator.itemgetter(0))
        self._ranked.insert(at, (merit, record))
        if record.fingerprint is not None:
            self._merits[record.fingerprint] = min(merit, self._merits.get(record.fingerprint, merit))
        self._place = min(self._place, at)
        while self._steps and self._steps[-1][0] > merit:
            self._passed -= self._steps.pop()[1]

    def _is_surpassed(self, merit: _Merit, record: TrialRecord) -> bool:
        if self._place == 0:
            return False  # without a look at the neighbours, which may be dear to judge
        if record.number not in self._surpassed:
            if not any(self._merits.get(fingerprint, merit) < merit for fingerprint in self._around(record)):
                return False
            self._surpassed.add(record.number)
        return True


class _Front(_Explored):
    """The non-dominated ones of the completed trials, for several objectives."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._front: dict[int, list[float]] = {}

    def centres(self, generator: np.random.Generator) -> Iterator[int]:
        """Those that may have untried neighbours, in random order."""
        numbers = sorted(self._front)
        yield from (int(n) for n in generator.permutation(numbers) if not self._is_closed(n))

    def _compare(self, record: TrialRecord) -> None:
        if record.outcome != COMPLETED or not record.feasible:
            return
        point = vector(record, self._problem.objectives)
        front = self._front.items()
        if not any(_covers(other, point) and (other != point or number < record.number) for number, other in front):
            self._front = {number: other for number, other in front if not _covers(point, other)}
            self._front[record.number] = point


def _covers(vector: list[float], other: list[float]) -> bool:
    """Nowhere worse."""
    return all(a <= b for a, b in zip(vector, other, strict=True))
