"""Regularised evolution (Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019).

The population are the latest trials that have a result. The best of a random sample of it is mutated; the child makes
the oldest one leave, however good that is. Unlike in the paper, a child that was tried is mutated again, stopped trials
rank behind those that came further, and with several objectives parents are compared as in NSGA-II (Deb et al., 2002):
by non-dominated rank, and within one by crowding distance.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from search_spaces.knobs import Value
from searchers.algorithms.heat_map import check_windows, shrink
from searchers.algorithms.mutation import mutate
from searchers.algorithms.random import draw
from searchers.algorithms.trials import Following, Trials, vector
from searchers.history import History
from searchers.objectives import crowding, ranks
from searchers.record import TrialRecord, best_first
from searchers.searcher import Problem, Propose
from seqconv import validation

TRIES = 10
"""Parents whose children were all tried, after which a proposal is drawn at random."""
STEPS = 5
"""Mutations in a row of a child that was tried."""


@dataclass(frozen=True, kw_only=True)
class RegularisedEvolution:
    """Mutates the best of a sample of the latest trials.

    Raises:
        ValueError: a field out of range, or a sample above the population.
    """

    population: int = 20
    """Latest trials that may become parents; as many are drawn at random first."""
    sample: int = 5
    """Of these, how many are drawn for the best one to become a parent: more is greedier."""
    heat_map: bool = False
    """Whether the first children of a parent have a window shrunk to where its weights are, see `heat_map`."""

    name: ClassVar[str] = "evolution"

    def __post_init__(self) -> None:
        validation.integer("searcher.population", self.population)
        validation.integer("searcher.sample", self.sample, high=self.population)
        validation.boolean("searcher.heat_map", self.heat_map)

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes.

        Raises:
            ValueError: heat_map for a space without windows.
        """
        if self.heat_map:
            check_windows(problem.space)
        follow = Following(lambda: Trials(problem.objectives))

        def propose(history: History, generator: np.random.Generator) -> dict[str, Value] | None:
            trials = follow(history)
            if trials.started >= self.population and trials.results:
                population = [history[number] for number in trials.results[-self.population :]]
                ranked = _ranked(population, problem.objectives)
                for _ in range(TRIES):
                    parent = self._parent(ranked, generator)
                    child = shrink(problem, parent, trials.tried, generator) if self.heat_map else None
                    child = child or _child(problem, parent.values, trials.tried, generator)
                    if child is not None:
                        return child
            return draw(problem, trials.tried, generator)

        return propose

    def _parent(self, ranked: Sequence[TrialRecord], generator: np.random.Generator) -> TrialRecord:
        size = min(self.sample, len(ranked))
        return ranked[int(generator.choice(len(ranked), size=size, replace=False).min())]


def _child(
    problem: Problem, values: Mapping[str, Value], tried: Container[str], generator: np.random.Generator
) -> dict[str, Value] | None:
    """An untried descendant, a few mutations away at most."""
    for _ in range(STEPS):
        child = mutate(problem, values, generator)
        if child is None:
            return None
        if problem.candidate(child) not in tried:
            return child
        values = child
    return None


def _ranked(population: Sequence[TrialRecord], objectives: tuple[str, ...]) -> list[TrialRecord]:
    """Within the limits first, then what came furthest; among equals by the error, or by rank and crowding."""
    if len(objectives) == 1:
        return best_first(population)
    equals = itertools.groupby(best_first(population), key=lambda record: (record.feasible, record.epochs))
    return [record for _, group in equals for record in _by_front(list(group), objectives)]


def _by_front(records: Sequence[TrialRecord], objectives: tuple[str, ...]) -> list[TrialRecord]:
    vectors = np.array([vector(record, objectives) for record in records])
    rank = np.array(ranks(vectors))
    ordered: list[TrialRecord] = []
    for front in range(rank.max() + 1):
        members = np.flatnonzero(rank == front)
        loneliest = np.argsort(-np.array(crowding(vectors[members])), kind="stable")
        ordered += [records[i] for i in members[loneliest]]
    return ordered
