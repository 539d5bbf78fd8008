"""Which of several proposals to train: the one that a proxy or a predictor likes best: configuration, functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from search_spaces.knobs import Value
from searchers.algorithms.trials import Following, Trials
from searchers.history import History
from searchers.searcher import Problem, Propose
from seqconv import Architecture, validation
from training.zero_cost.names import FEWEST_IMAGES, PROXIES

if TYPE_CHECKING:
    from training.data import Split

Candidate = TypeVar("Candidate")
Score = Callable[[Architecture], float]
"""Higher is better."""
Scoring = Callable[[History], Score | None]
"""The score after a history; None where there is none (any more), and every proposal is trained."""
PREDICTOR = "predictor"


@dataclass(frozen=True, kw_only=True)
class Prefilter:
    """How many proposals a proxy, or a predictor, compares before one of them is trained.

    Raises:
        ValueError: an unknown proxy, or a field out of range, naming it.
    """

    name: str | None = None
    """One of `training.zero_cost.names.PROXIES`, or predictor, which learns from the search; null trains every
    proposal."""
    ratio: int = 8
    """Proposals scored for each one that is trained."""
    batch_size: int = 32
    """Training images that a proxy looks at, the same ones for every architecture."""
    trials: int | None = None
    """Only the first so many trials are chosen so, and the searcher goes on alone; null: all."""

    def __post_init__(self) -> None:
        if self.name is not None:
            validation.one_of("prefilter.name", self.name, (*PROXIES, PREDICTOR))
        validation.integer("prefilter.ratio", self.ratio)
        validation.integer("prefilter.batch_size", self.batch_size, low=FEWEST_IMAGES)
        if self.trials is not None:
            validation.integer("prefilter.trials", self.trials)
        if self.trials is not None and self.name == PREDICTOR:
            from searchers.predictor import FEWEST

            if self.trials <= FEWEST:
                raise ValueError(
                    f"prefilter.trials must be above {FEWEST} with prefilter=predictor, which chooses nothing before "
                    f"there are {FEWEST} results; got {self.trials}"
                )


def choose(candidates: Iterable[Candidate], score: Callable[[Candidate], float]) -> Candidate:
    """The candidate of the highest score; the first one proposed where several have it.

    Raises:
        ValueError: no candidates.
    """
    candidates = list(candidates)
    if not candidates:
        raise ValueError("candidates must hold at least one")
    return max(candidates, key=score)


def prefiltered(searcher: Propose, problem: Problem, scoring: Scoring, ratio: int) -> Propose:
    """A searcher of whose proposals the best-scored one of so many is taken; nothing is left where it says so.

    Args:
        searcher: proposes.
        problem: tells which proposals may be trained, and what they decode to.
        scoring: of architectures; where there is none, proposals are the searcher's own.
        ratio: proposals to choose from.
    """

    def propose(history: History, generator: np.random.Generator) -> Mapping[str, Value] | None:
        score = scoring(history)
        if score is None:
            return searcher(history, generator)
        drawn = [searcher(history, own) for own in generator.spawn(ratio)]
        proposals = [values for values in drawn if values is not None]
        if not proposals:
            return None
        names = [problem.candidate(values) for values in proposals]
        new = [v for v, name in zip(proposals, names, strict=True) if name is not None and not history.known(name)]
        return choose(new, lambda values: score(problem.space.decode(values))) if new else proposals[0]

    return propose


def make_scoring(prefilter: Prefilter, problem: Problem, split: Split, *, classes: int, seed: int) -> Scoring:
    """What a prefilter ranks proposals by.

    Args:
        prefilter: with a name.
        problem: what is searched.
        split: as in `scorer`.
        classes: as in `scorer`.
        seed: as in `scorer`.

    Raises:
        ValueError: a predictor for several objectives.
    """
    if prefilter.name == PREDICTOR:
        from searchers import predictor

        scoring: Scoring = predictor.scoring(problem)
    else:
        score = scorer(prefilter, split, classes=classes, seed=seed)
        scoring = lambda history: score  # noqa: E731
    return scoring if prefilter.trials is None else first(prefilter.trials, problem, scoring)


def first(trials: int, problem: Problem, scoring: Scoring) -> Scoring:
    """The scoring for so many trials alone, those that have failed not counted: later ones are the searcher's own."""
    follow = Following(lambda: Trials(problem.objectives))
    return lambda history: scoring(history) if follow(history).started < trials else None


def remembered(score: Score) -> Score:
    """The same score, computed once for all architectures that are the same network."""
    known: dict[str, float] = {}

    def of(architecture: Architecture) -> float:
        fingerprint = architecture.fingerprint()
        if fingerprint not in known:
            known[fingerprint] = score(architecture)
        return known[fingerprint]

    return of


def scorer(prefilter: Prefilter, split: Split, *, classes: int, seed: int) -> Score:
    """A proxy's score of an architecture on some training images; remembered, and computed on the CPU.

    Args:
        prefilter: with the name of a proxy.
        split: some of whose training images are looked at.
        classes: number of logits.
        seed: of the choice of images, and of every network's weights.
    """
    from training.zero_cost.scoring import score, training_batch

    name = prefilter.name
    assert name is not None
    batch = training_batch(split, prefilter.batch_size, seed=seed)
    return remembered(lambda architecture: score(name, architecture, batch, classes=classes, seed=seed))
