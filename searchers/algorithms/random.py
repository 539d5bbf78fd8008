"""Random search (Bergstra & Bengio, JMLR 2012), the baseline that every other searcher has to beat."""

from __future__ import annotations

import itertools
import random
from collections.abc import Container, Iterator
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
"""Vectors of a space that is looked through before that."""


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Knob values drawn uniformly, without an architecture that was tried."""

    name: ClassVar[str] = "random"

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes."""
        follow = Following(lambda: Trials(problem.objectives))

        def propose(history: History, generator: np.random.Generator) -> dict[str, Value]:
            return draw(problem, follow(history).tried, generator)

        return propose


def draw(problem: Problem, tried: Container[str], generator: np.random.Generator) -> dict[str, Value]:
    """A random admissible vector of an untried architecture; of a tried one, or any vector, where none is found."""
    rng = python_random(generator)
    tried_one: dict[str, Value] | None = None
    for values in itertools.chain((sample(problem.space, rng) for _ in range(TRIES)), _rest(problem.space, rng)):
        fingerprint = problem.candidate(values)
        if fingerprint is not None:
            tried_one = values
            if fingerprint not in tried:
                break
    return sample(problem.space, rng) if tried_one is None else tried_one


def _rest(space: SearchSpace, rng: random.Random) -> Iterator[dict[str, Value]]:
    """All vectors of a small space in random order, of a larger one none."""
    number = size(space)
    if number is not None and number <= SMALL:
        vectors = list(every(space))
        yield from rng.sample(vectors, len(vectors))


def python_random(generator: np.random.Generator) -> random.Random:
    """A source of randomness as knobs draw from, seeded by a generator."""
    return random.Random(int(generator.integers(2**63)))
