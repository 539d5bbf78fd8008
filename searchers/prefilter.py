"""Which of several proposals to train: the one that a zero-cost proxy likes best, as configuration and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from search_spaces.knobs import Value
from searchers.history import History
from searchers.searcher import Problem, Propose
from seqconv import Architecture, validation
from training.zero_cost.names import FEWEST_IMAGES, PROXIES

if TYPE_CHECKING:
    from training.data import Split

Candidate = TypeVar("Candidate")


@dataclass(frozen=True, kw_only=True)
class Prefilter:
    """How many proposals a proxy compares before one of them is trained.

    Raises:
        ValueError: an unknown proxy, or a field out of range, naming it.
    """

    name: str | None = None
    """The proxy, one of `training.zero_cost.names.PROXIES`; null trains every proposal."""
    ratio: int = 8
    """Proposals scored for each one that is trained."""
    batch_size: int = 32
    """Training images that the proxy looks at, the same ones for every architecture."""

    def __post_init__(self) -> None:
        if self.name is not None:
            validation.one_of("prefilter.name", self.name, PROXIES)
        validation.integer("prefilter.ratio", self.ratio)
        validation.integer("prefilter.batch_size", self.batch_size, low=FEWEST_IMAGES)


def choose(candidates: Iterable[Candidate], score: Callable[[Candidate], float]) -> Candidate:
    """The candidate of the highest score; the first one proposed where several have it.

    Raises:
        ValueError: no candidates.
    """
    candidates = list(candidates)
    if not candidates:
        raise ValueError("candidates must hold at least one")
    return max(candidates, key=score)


def prefiltered(searcher: Propose, problem: Problem, score: Callable[[Architecture], float], ratio: int) -> Propose:
    """A searcher of whose proposals the best-scored one of so many is taken.

    Args:
        searcher: proposes.
        problem: tells which proposals may be trained, and what they decode to.
        score: of an architecture, higher is better.
        ratio: proposals to choose from.
    """

    def propose(history: History, generator: np.random.Generator) -> Mapping[str, Value]:
        proposals = [searcher(history, own) for own in generator.spawn(ratio)]
        names = [problem.candidate(values) for values in proposals]
        new = [v for v, name in zip(proposals, names, strict=True) if name is not None and not history.known(name)]
        return choose(new, lambda values: score(problem.space.decode(values))) if new else proposals[0]

    return propose


def remembered(score: Callable[[Architecture], float]) -> Callable[[Architecture], float]:
    """The same score, computed once for all architectures that are the same network."""
    known: dict[str, float] = {}

    def of(architecture: Architecture) -> float:
        fingerprint = architecture.fingerprint()
        if fingerprint not in known:
            known[fingerprint] = score(architecture)
        return known[fingerprint]

    return of


def scorer(prefilter: Prefilter, split: Split, *, classes: int, seed: int) -> Callable[[Architecture], float]:
    """The score of an architecture on some training images, for `choose`; remembered, and computed on the CPU.

    Args:
        prefilter: with a name.
        split: some of whose training images are looked at.
        classes: number of logits.
        seed: of the choice of images, and of every network's weights.
    """
    from training.zero_cost.scoring import score, training_batch

    name = prefilter.name
    assert name is not None
    batch = training_batch(split, prefilter.batch_size, seed=seed)
    return remembered(lambda architecture: score(name, architecture, batch, classes=classes, seed=seed))
