"""Genetic algorithms for several objectives, by Optuna.

Generations are counted in completed trials by number, so that they can be told from the history alone.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import NSGAIIISampler, NSGAIISampler

from search_spaces.knobs import Value
from searchers.algorithms.optuna_mirror import Mirror, ended
from searchers.algorithms.unseen import unseen
from searchers.history import History
from searchers.record import COMPLETED, PRUNED
from searchers.searcher import Problem, Propose
from seqconv import validation


@dataclass(frozen=True, kw_only=True)
class Nsga2:
    """Non-dominated sorting genetic algorithm (Deb et al., IEEE TEC 2002).

    Raises:
        ValueError: a field out of range, naming it.
    """

    population: int = 20
    """Completed trials of a generation."""

    name: ClassVar[str] = "nsga2"
    sampler: ClassVar[type[NSGAIISampler] | type[NSGAIIISampler]] = NSGAIISampler

    def __post_init__(self) -> None:
        validation.integer("searcher.population", self.population, low=2)

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes."""
        return unseen(problem, _Generations(problem, self).propose)


@dataclass(frozen=True, kw_only=True)
class Nsga3(Nsga2):
    """With reference points instead of crowding, for three objectives and more (Deb & Jain, IEEE TEC 2014)."""

    name: ClassVar[str] = "nsga3"
    sampler: ClassVar[type[NSGAIISampler] | type[NSGAIIISampler]] = NSGAIIISampler


class _Generations:
    """A study of the completed trials in order of their numbers, each with its generation."""

    def __init__(self, problem: Problem, config: Nsga2) -> None:
        self._problem, self._config = problem, config
        self._position = 0
        self._last = -1
        self._begin()

    def propose(self, history: History, generator: np.random.Generator) -> dict[str, Value]:
        changed, self._position = history.since(self._position)
        new = sorted(number for number in changed if self._enters(history, number))
        if new and new[0] <= self._last:  # an earlier trial ended later, and moves the bounds of generations
            self._begin()
            new = [number for number in range(len(history)) if self._enters(history, number)]
        for number in new:
            self._add(history, number)
        return self._mirror.ask(generator)

    def _enters(self, history: History, number: int) -> bool:
        record = history[number]
        several = len(self._problem.objectives) > 1
        return record.outcome == COMPLETED or (several and record.outcome == PRUNED)

    def _begin(self) -> None:
        self._mirror = Mirror(self._problem, self._sampler)
        self._count = 0

    def _add(self, history: History, number: int) -> None:
        trial = ended(history[number], self._problem)
        self._last = number
        if trial is not None:
            trial.system_attrs[self._config.sampler._get_generation_key()] = self._count // self._config.population
            self._mirror.add(trial)
            self._count += 1
            if self._count % self._config.population == 0:
                self._choose_parents(self._count // self._config.population)

    def _choose_parents(self, generation: int) -> None:
        """Optuna remembers them, and gives them in another order when they are chosen: not at a proposal, therefore."""
        self._sampler(generation).get_parent_population(self._mirror.study(), generation)

    def _sampler(self, seed: int) -> NSGAIISampler | NSGAIIISampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return self._config.sampler(seed=seed, population_size=self._config.population)
