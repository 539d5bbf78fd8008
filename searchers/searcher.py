"""What a searcher is: a function from the history of a search and a source of randomness to the next knob vector.

It does no I/O and keeps no time: the runtime owns both. What it proposes depends on its two arguments alone, so that a
resumed search proposes what an unbroken one would have proposed; caches are kept in step through `History.since`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from search_spaces.knobs import Value
from search_spaces.space import SearchSpace
from searchers.history import History
from searchers.objectives import ERROR

REMEMBERED = 100_000
"""Knob vectors whose fingerprints are kept in memory."""
Propose = Callable[[History, np.random.Generator], Mapping[str, Value] | None]
"""(history, generator) -> the next knob vector, or None where it knows that no architecture is left to train. The
generator is made from the seed and the number of the trial."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a search is over."""

    space: SearchSpace
    """Knobs, and the architecture of a knob vector."""
    objectives: tuple[str, ...] = (ERROR,)
    """What is minimised."""
    epochs: int = 1
    """Of a trial that nothing stops."""
    refusal: Callable[[Any], str | None] = lambda architecture: None
    """Why an architecture may not be trained; None where it may."""
    candidate: Callable[[Mapping[str, Value]], str | None] = field(init=False, repr=False, compare=False)
    """Fingerprint of the architecture of a knob vector; None where there is none, or it may not be trained."""

    def __post_init__(self) -> None:
        @functools.lru_cache(maxsize=REMEMBERED)
        def judge(names: tuple[str, ...], values: tuple[Value, ...]) -> str | None:
            try:
                architecture = self.space.decode(dict(zip(names, values, strict=True)))
            except ValueError:
                return None
            return None if self.refusal(architecture) else architecture.fingerprint()

        object.__setattr__(self, "candidate", lambda values: judge(tuple(values), tuple(values.values())))


class Searcher(Protocol):
    """The configuration of a searcher: what conf/searcher makes."""

    name: ClassVar[str]

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes.

        Raises:
            ValueError: a problem that it cannot deal with, with the searchers that can.
        """
