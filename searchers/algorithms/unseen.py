"""Proposals that are worth a training: within the budget, and not known yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from search_spaces.knobs import Value
from searchers.algorithms.random import RandomSearch
from searchers.history import History
from searchers.searcher import Problem, Propose

TRIES = 8
"""Draws of an algorithm before one at random takes its place."""


def unseen(
    problem: Problem, draw: Callable[[History, np.random.Generator], Mapping[str, Value]], tries: int = TRIES
) -> Propose:
    """The first of several draws that is admissible and not known, or else what random search proposes."""
    blind = RandomSearch().bind(problem)

    def propose(history: History, generator: np.random.Generator) -> Mapping[str, Value] | None:
        for _ in range(tries):
            values = draw(history, generator)
            fingerprint = problem.candidate(values)
            if fingerprint is not None and not history.known(fingerprint):
                return values
        return blind(history, generator)

    return propose
