"""A searcher that begins with knob vectors that were given to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from search_spaces.knobs import Value
from searchers.history import History
from searchers.searcher import Problem, Propose


def warm(searcher: Propose, problem: Problem, vectors: Sequence[Mapping[str, Value]]) -> Propose:
    """The given vectors first, in order, and then what the searcher proposes, which learns from all results alike.

    Which of them are still to be proposed, the history tells: an architecture that is known to it is not.

    Args:
        searcher: goes on.
        problem: tells the architectures; vectors of none, or of one that may not be trained, are left out.
        vectors: to begin with.
    """
    given: dict[str, Mapping[str, Value]] = {}
    for values in vectors:
        fingerprint = problem.candidate(values)
        if fingerprint is not None:
            given.setdefault(fingerprint, values)

    def propose(history: History, generator: np.random.Generator) -> Mapping[str, Value] | None:
        for fingerprint, values in given.items():
            if not history.known(fingerprint):
                return values
        return searcher(history, generator)

    return propose
