"""Enumeration of a whole space, each architecture once."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from search_spaces.knobs import Value, active
from search_spaces.space import SearchSpace, every, size
from searchers.algorithms.trials import Following, Trials
from searchers.history import History
from searchers.record import TrialRecord
from searchers.searcher import Problem, Propose
from seqconv import validation

LARGEST = 100_000
"""Knob vectors of the largest space that is enumerated."""
_WHERE = "guided, tpe, evolution, local_search and random take such spaces"

_Values = tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every architecture of a space without continuous knobs.

    Raises:
        ValueError: a field of the wrong kind, naming it.
    """

    shuffle: bool = True
    """Whether the order is random, the same for every search of a space; false: the last knob changes fastest."""

    name: ClassVar[str] = "grid"

    def __post_init__(self) -> None:
        validation.boolean("searcher.shuffle", self.shuffle)

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes.

        Raises:
            ValueError: a number without steps, or more than `LARGEST` knob vectors.
        """
        _check(problem.space)
        order = [tuple(values.values()) for values in every(problem.space)]
        if self.shuffle:
            random.Random(0).shuffle(order)
        follow = Following(lambda: _Walk(problem, order))

        def propose(history: History, generator: np.random.Generator) -> Mapping[str, Value] | None:
            return follow(history).next()

        return propose


class _Walk(Trials):
    """How far the enumeration has come.

    Args:
        problem: what is enumerated.
        order: the values of the active knobs of each vector.
    """

    def __init__(self, problem: Problem, order: Sequence[_Values]) -> None:
        super().__init__(problem.objectives)
        self._problem, self._order = problem, order
        self._place = 0
        self._seen: set[_Values] = set()

    def see(self, record: TrialRecord) -> None:
        """Vectors that were tried are remembered too: to pass them takes no decoding."""
        super().see(record)
        if record.settled:
            names = (knob.name for knob in self._problem.space.knobs)
            self._seen.add(tuple(record.values[name] for name in names if name in record.values))

    def next(self) -> dict[str, Value] | None:
        """The first vector of an architecture that was not tried; None at the end."""
        while self._place < len(self._order):
            if self._order[self._place] not in self._seen:
                values = self._named(self._order[self._place])
                fingerprint = self._problem.candidate(values)
                if fingerprint is not None and fingerprint not in self.tried:
                    return values
            self._place += 1
        return None

    def _named(self, vector: _Values) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for knob in self._problem.space.knobs:
            if active(knob, values):
                values[knob.name] = vector[len(values)]
        return values


def _check(space: SearchSpace) -> None:
    for knob in space.knobs:
        if knob.count is None:
            raise ValueError(f"searcher=grid cannot enumerate {knob.name}, which has no step: give it one; {_WHERE}")
    number = size(space) or 0
    if number > LARGEST:
        limit = f"searcher=grid enumerates at most {LARGEST:,} knob vectors"
        raise ValueError(f"{limit}; search_space {space.name} has {number:,}: fix some knobs; {_WHERE}")
