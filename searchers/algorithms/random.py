"""Random search (Bergstra & Bengio, JMLR 2012), the baseline that every other searcher has to beat."""

from __future__ import annotations

import random
from collections.abc import Container
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from search_spaces.knobs import Value
from search_spaces.space import SearchSpace, every, sample, size
from searchers.algorithms.trials import Following, Trials
from searchers.history import History
from searchers.searcher import Problem, Propose

TRIES = 100
"""Draws before an architecture that is known is proposed, or one that may not be trained where all draws were such."""
SMALL = 1000
"""Vectors of a space that is looked through instead."""


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Knob values drawn uniformly, without an architecture that was tried."""

    name: ClassVar[str] = "random"

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes."""
        follow = Following(lambda: Trials(problem.objectives))

        def propose(history: History, generator: np.random.Generator) -> dict[str, Value] | None:
            return draw(problem, follow(history).tried, generator)

        return propose


def draw(problem: Problem, tried: Container[str], generator: np.random.Generator) -> dict[str, Value] | None:
    """A random admissible vector of an untried architecture, or None where a small space has none.

    In a larger space, where none is found, it is one of a tried architecture, or any vector.
    """
    rng = python_random(generator)
    tried_one: dict[str, Value] | None = None
    for _ in range(TRIES):
        values = sample(problem.space, rng)
        fingerprint = problem.candidate(values)
        if fingerprint is not None and fingerprint not in tried:
            return values
        tried_one = values if fingerprint is not None else tried_one
    if _is_small(problem.space):
        vectors = list(every(problem.space))
        names = ((vector, problem.candidate(vector)) for vector in rng.sample(vectors, len(vectors)))
        return next((vector for vector, name in names if name is not None and name not in tried), None)
    return sample(problem.space, rng) if tried_one is None else tried_one


def _is_small(space: SearchSpace) -> bool:
    number = size(space)
    return number is not None and number <= SMALL


def python_random(generator: np.random.Generator) -> random.Random:
    """A source of randomness as knobs draw from, seeded by a generator."""
    return random.Random(int(generator.integers(2**63)))
