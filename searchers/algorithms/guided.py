"""Local search guided by a model: near the best results and at random, the proposals of highest expected improvement.

The model is a Gaussian process over the knobs (see `surrogate`) of the places of the results, not of their values: the
place of each, from the best to the worst, as a quantile of the normal distribution. So an outlier does no harm, and a
trial that was stopped early has a meaning: it comes after those that went further. Several objectives are joined anew
for every proposal, with weights drawn at random (ParEGO: Knowles, IEEE TEC 2006).

With one objective the search starts anew, from random proposals and without what it had learned, when it has not
improved for long: what it knows is then about a place that it has searched out.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.stats import norm, rankdata
from threadpoolctl import ThreadpoolController

from search_spaces.knobs import Value
from search_spaces.space import sample
from searchers.algorithms.mutation import changed, steps
from searchers.algorithms.random import draw, python_random
from searchers.algorithms.surrogate import Encoding, GaussianProcess, Kernel, choose_kernel
from searchers.algorithms.trials import Following, Trials
from searchers.history import History
from searchers.objectives import ERROR
from searchers.record import RUNNING, TrialRecord, best_first, place
from searchers.searcher import Problem, Propose
from seqconv import validation

Vector = Mapping[str, Value]
Change = Mapping[str, Value]
JUDGED = 64
"""Proposals, best first, of which one has to be new and within the budget; after that one is drawn at random."""
PAIRS = 8
"""Vectors at two changes from each parent."""
REMEMBERED = 256
"""Vectors whose neighbours are kept in memory."""
BELIEVED = 256
"""Trials in training, the latest ones, that the model counts with."""
REFIT = 1.15
"""Growth of the observations from one choice of the kernel to the next."""


@dataclass(frozen=True, kw_only=True)
class Guided:
    """Bayesian optimisation over the neighbours of the best and random vectors, at a bounded cost a proposal.

    Raises:
        ValueError: a field out of range, naming it.
    """

    startup_trials: int = 10
    """Random proposals before the first model."""
    parents: int = 8
    """Best results whose neighbours are looked at."""
    strangers: int = 100
    """Random vectors that are looked at besides."""
    observations: int = 256
    """Results that the model is of: half of them the best ones, the others the latest."""
    patience: int = 25
    """Results without a better one after which it starts anew."""

    name: ClassVar[str] = "guided"

    def __post_init__(self) -> None:
        validation.integer("searcher.startup_trials", self.startup_trials, low=2)
        validation.integer("searcher.parents", self.parents)
        validation.integer("searcher.strangers", self.strangers)
        validation.integer("searcher.observations", self.observations, low=4)
        validation.integer("searcher.patience", self.patience)

    def bind(self, problem: Problem) -> Propose:
        """The function that proposes."""
        patience = self.patience if len(problem.objectives) == 1 else math.inf
        follow = Following(lambda: _Starts(problem.objectives, patience))
        model = _Model(problem, self)
        threads = ThreadpoolController()

        def propose(history: History, generator: np.random.Generator) -> Vector | None:
            trials = follow(history)
            if trials.started < self.startup_trials or len(trials.latest) < 2:
                return draw(problem, trials.tried, generator)
            with threads.limit(limits=1):  # matrices this small gain nothing from more, and lose much on a busy machine
                promising = model.promising(history, trials, generator)
            for vector in promising:
                fingerprint = problem.candidate(vector)
                if fingerprint is not None and fingerprint not in trials.tried:
                    return vector
            return draw(problem, trials.tried, generator)

        return propose


class _Starts(Trials):
    """Which results count: those since the last start.

    Args:
        objectives: what a trial needs, to be compared.
        patience: results without a better one after which a start is due.
    """

    def __init__(self, objectives: tuple[str, ...], patience: float) -> None:
        super().__init__(objectives)
        self._patience = patience
        self._places: dict[int, tuple[bool, int, float, int]] = {}
        self._states: list[tuple[int, int]] = []

    @property
    def _first(self) -> int:
        """Position of the first result since the last start."""
        return self._states[-1][0] if self._states else 0

    @property
    def latest(self) -> list[int]:
        """Numbers of the results since the last start."""
        return self.results[self._first :]

    @property
    def started(self) -> int:
        """Trials since the last start that have a result, or may still have one."""
        return super().started - self._first

    def _compare(self, record: TrialRecord) -> None:
        self._places[record.number] = place(record)
        position = bisect.bisect_left(self.results, record.number)
        del self._states[position:]  # where it came late, it moves all starts after it
        for later in range(position, len(self.results)):
            self._states.append(self._after(later))

    def _after(self, position: int) -> tuple[int, int]:
        """Positions of the first result since the last start and of the best one, after the result at a position.

        That is the best one, or a start is due, or neither.
        """
        first, best = self._states[-1] if self._states else (0, 0)
        if position == first or self._places[self.results[position]] < self._places[self.results[best]]:
            return first, position
        return (position + 1, position + 1) if position - best >= self._patience else (first, best)


class _Model:
    """What is expected of the vectors of a space, after a history."""

    def __init__(self, problem: Problem, config: Guided) -> None:
        self._problem, self._config = problem, config
        self._encoding = Encoding(problem.space.knobs)
        self._kernels: dict[tuple[int, ...], Kernel] = {}
        self._near = functools.lru_cache(REMEMBERED)(self._close)

    def promising(self, history: History, trials: _Starts, generator: np.random.Generator) -> list[Vector]:
        """The candidates that the model thinks most of, best first."""
        weights = generator.dirichlet(np.ones(len(self._problem.objectives)))
        records = self._chosen([history[number] for number in trials.latest])
        places = _places(records, self._problem.objectives, weights)
        order = np.argsort(places, kind="stable")
        candidates, there = self._candidates([records[i] for i in order[: self._config.parents]], generator)
        rows = self._encoding.rows([record.values for record in records])
        kernel = self._kernel(history, trials, weights)
        process, rows, best = self._posterior(kernel, rows, norm.ppf((places + 0.5) / len(places)), history)
        mean, deviation = process.predict(self._encoding.distances(there, rows))
        if len(history) % 2:  # in turn with a draw from the posterior, which keeps it from settling too early
            score = -(mean + deviation * generator.standard_normal(len(mean)))
        else:
            gap = (best - mean) / deviation
            score = deviation * (gap * norm.cdf(gap) + norm.pdf(gap))
        return [candidates[i] for i in np.argsort(-score, kind="stable")[:JUDGED]]

    def _posterior(
        self, kernel: Kernel, rows: Any, targets: Any, history: History
    ) -> tuple[GaussianProcess, Any, float]:
        """The process, its rows, and its lowest mean. What is being trained is believed to turn out as expected."""
        between = self._encoding.distances(rows, rows)
        process = GaussianProcess(kernel, between, targets)
        best = float(process.predict(between)[0].min())
        running = [record.values for record in _latest(history) if record.outcome == RUNNING][-BELIEVED:]
        if running:
            there = self._encoding.rows(running)
            expected, _ = process.predict(self._encoding.distances(there, rows))
            rows, targets = np.vstack([rows, there]), np.append(targets, expected)
            process = GaussianProcess(kernel, self._encoding.distances(rows, rows), targets)
        return process, rows, best

    def _candidates(self, parents: Sequence[TrialRecord], generator: np.random.Generator) -> tuple[list[Vector], Any]:
        """Neighbours of the parents, some at two changes from them, and strangers; with their rows."""
        rng = python_random(generator)
        space = self._problem.space
        near = [self._near(tuple(parent.values.items())) for parent in parents]
        others: list[Vector] = [sample(space, rng) for _ in range(self._config.strangers)]
        for parent, (changes, _, _) in zip(parents, near, strict=True):
            pairs = (rng.sample(changes, 2) for _ in range(PAIRS if len(changes) > 1 else 0))
            others += [changed(space, parent.values, {**one, **other}) for one, other in pairs]
        vectors = [vector for _, close, _ in near for vector in close] + others
        return vectors, np.vstack([*(rows for _, _, rows in near), self._encoding.rows(others)])

    def _close(self, items: tuple[tuple[str, Value], ...]) -> tuple[list[Change], list[Vector], Any]:
        """The changes that a vector can undergo, the vectors that they make, and the rows of these."""
        values = dict(items)
        changes = steps(self._problem.space, values)
        vectors: list[Vector] = [changed(self._problem.space, values, change) for change in changes]
        return changes, vectors, self._encoding.rows(vectors)

    def _chosen(self, records: list[TrialRecord]) -> list[TrialRecord]:
        """As many as the model takes, by number."""
        most = self._config.observations
        if len(records) <= most:
            return records
        best = {record.number for record in best_first(records)[: most // 2]}
        latest = [record.number for record in records if record.number not in best][-(most - len(best)) :]
        kept = best.union(latest)
        return [record for record in records if record.number in kept]

    def _kernel(self, history: History, trials: _Starts, weights: Any) -> Kernel:
        """The kernel of the results up to a number that grows by steps, so that it is chosen now and then alone."""
        count = _step(len(trials.latest))
        records = self._chosen([history[number] for number in trials.latest[:count]])
        key = tuple(record.number for record in records)
        if key not in self._kernels:
            equal = np.full(len(weights), 1 / len(weights))
            places = _places(records, self._problem.objectives, equal)
            rows = self._encoding.rows([record.values for record in records])
            distances = self._encoding.distances(rows, rows)
            self._kernels = {key: choose_kernel(distances, norm.ppf((places + 0.5) / len(places)))}
        return self._kernels[key]


def _places(records: Sequence[TrialRecord], objectives: Sequence[str], weights: Any) -> Any:
    """Place of each record from 0, the best; equal ones share the mean of theirs."""
    joined = np.zeros(len(records))
    total = np.zeros(len(records))
    for name, weight in zip(objectives, weights, strict=True):
        keys: list[Any] = [(not r.feasible, r.measures()[name]) for r in records]
        if name == ERROR:
            keys = [place(r)[:-1] for r in records]  # without the number: equal errors share a place
        order = {key: i for i, key in enumerate(sorted(set(keys)))}
        places = rankdata([order[key] for key in keys])
        joined = np.maximum(joined, weight * places)
        total += weight * places
    return rankdata(joined + 0.05 * total) - 1


def _step(count: int) -> int:
    """The largest number up to `count` of those that grow by `REFIT`."""
    step = 2.0
    while round(step * REFIT + 1) <= count:
        step = round(step * REFIT + 1)
    return int(step)


def _latest(history: History, number: int = 1024) -> list[TrialRecord]:
    """The last trials: what is being trained is among them."""
    return [history[i] for i in range(max(0, len(history) - number), len(history))]
