"""Searches on a table in simulated time: a discrete-event loop in place of Ray Tune, the store and the training.

What a searcher meets is what it meets in a search: a `History`, a generator made from (seed, number of the trial), and
duplicates that are answered from the history at once. A scheduler is one of Ray Tune's.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from table import Entry, Table
from trajectory import Trajectory

from search_spaces.knobs import Value
from searchers.algorithms.random import RandomSearch
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.searcher import Problem, Propose
from searchers.session import GIVE_UP, RUT
from seqconv import validation

MEAN, SEED = "mean", "seed"
CONTINUE, STOP = "CONTINUE", "STOP"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a search is simulated.

    Raises:
        ValueError: a field out of range, naming it.
    """

    evaluations: int
    """Trials to train in all; duplicates and refused proposals are none."""
    seconds: float = math.inf
    """Simulated time after which nothing counts."""
    workers: int = 1
    """Trials that run at the same time."""
    observe: str = MEAN
    """What a trial reports: the mean over the seeds, or one seed of those that its architecture was trained with."""
    seed: int = 0
    """All the randomness, with the numbers of the trials."""

    def __post_init__(self) -> None:
        validation.integer("evaluations", self.evaluations)
        validation.integer("workers", self.workers)
        validation.integer("seed", self.seed, low=0)
        validation.one_of("observe", self.observe, (MEAN, SEED))
        if not self.seconds > 0:
            raise ValueError(f"seconds must be a number above 0, got {self.seconds!r}")


class Scheduler(Protocol):
    """What is called of a `ray.tune.schedulers.TrialScheduler`, with None for the controller."""

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        """A trial is about to start."""

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP, after an epoch."""

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial came to its end by itself."""


@dataclass(kw_only=True, eq=False)
class Trial:
    """A trial that is trained, as far as a scheduler looks at one, and how far it is."""

    trial_id: str
    """Unique."""
    config: Mapping[str, Any]
    """What a worker would be sent: its number and its architecture."""
    row: int
    """Of the table."""
    reports: int = 0
    """How many it has made."""

    @property
    def number(self) -> int:
        """Of its record."""
        return int(self.config["number"])


def simulate(
    table: Table,
    problem: Problem,
    propose: Propose,
    setting: Setting,
    *,
    scheduler: Scheduler | None = None,
    history: History | None = None,
) -> Trajectory:
    """Search until the evaluations or the time are used up, or nothing new is proposed any more.

    Args:
        table: what happens.
        problem: over the table's space; what it refuses is not trained.
        propose: a searcher freshly bound to the problem.
        setting: how.
        scheduler: decides after each report whether a trial goes on; None: all do.
        history: an empty one that the scheduler looks at too.

    Raises:
        ValueError: a scheduler that pauses trials.
    """
    return _Simulation(table, problem, propose, setting, scheduler, History() if history is None else history).run()


class _Simulation:
    """The state of one search."""

    def __init__(
        self,
        table: Table,
        problem: Problem,
        propose: Propose,
        setting: Setting,
        scheduler: Scheduler | None,
        history: History,
    ) -> None:
        self._table, self._problem, self._propose, self._setting = table, problem, propose, setting
        self._scheduler, self._history = scheduler, history
        self._blind = RandomSearch().bind(problem)
        if setting.observe == SEED:
            # A third number keeps it apart from the generators of the trials; a trailing zero would not.
            self._errors, self._seconds = table.draw(self._generator(0, 1))
        else:
            self._errors, self._seconds = table.mean_errors, table.mean_seconds
        self._clock, self._proposing = 0.0, 0.0
        self._begun, self._wasted, self._scheduled = 0, 0, 0
        self._exhausted = False
        self._events: list[tuple[float, int, Trial]] = []
        self._answers: dict[str, int] = {}
        self._waiting: dict[str, list[int]] = {}
        self._ends: list[tuple[int, int, float, float]] = []

    def run(self) -> Trajectory:
        self._fill()
        while self._events and self._events[0][0] <= self._setting.seconds:
            self._clock, _, trial = heapq.heappop(self._events)
            self._report(trial)
            self._fill()
        ends = np.array(self._ends, dtype=float).reshape(-1, 4).T
        outcomes = [record.outcome for record in self._history]
        return Trajectory(
            rows=ends[0].astype(np.int64),
            epochs=ends[1].astype(np.int64),
            observed=ends[2],
            seconds=ends[3],
            ended=self._clock if math.isinf(self._setting.seconds) else self._setting.seconds,
            proposals=len(self._history),
            duplicates=outcomes.count(DUPLICATE),
            refused=outcomes.count(REFUSED),
            proposing=self._proposing,
            exhausted=self._exhausted,
        )

    @property
    def _due(self) -> bool:
        return not self._exhausted and self._begun < self._setting.evaluations

    def _generator(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self._setting.seed, *numbers]))

    def _fill(self) -> None:
        """Give every free worker a trial."""
        while len(self._events) < self._setting.workers:
            trial = self._new()
            if trial is None:
                return
            self._train(trial)

    def _new(self) -> Trial | None:
        """The next proposal that needs training."""
        while self._due:
            values = self._proposal()
            trial = None if values is None else self._admit(values)
            if trial is not None:
                self._wasted = 0
                return trial
            self._wasted += 1
            self._exhausted = values is None or self._wasted >= GIVE_UP
        return None

    def _proposal(self) -> Mapping[str, Value] | None:
        generator = self._generator(len(self._history))
        if self._wasted >= RUT and self._wasted % 2 == 0:
            return self._blind(self._history, generator)
        began = time.perf_counter()
        values = self._propose(self._history, generator)
        self._proposing += time.perf_counter() - began
        return values

    def _admit(self, values: Mapping[str, Value]) -> Trial | None:
        """A trial to train, or None after the proposal was answered without training."""
        number, name = len(self._history), self._problem.candidate(values)
        if name is None:
            facts: dict[str, Any] = {"violations": {"decodable": 1.0}}
            self._history.put(TrialRecord(number=number, outcome=REFUSED, values=values, facts=facts))
            return None
        entry: Entry = self._table.space.decode(values)
        costs = {key: float(column[entry.row]) for key, column in self._table.costs.items()}
        facts = {"fingerprint": name, "architecture": entry.to_dict(), **costs}
        self._history.put(TrialRecord(number=number, outcome=RUNNING, values=values, facts=facts))
        if name in self._answers:
            self._answer(number, self._answers[name])
            return None
        if name in self._waiting:
            self._waiting[name].append(number)
            return None
        self._waiting[name] = []
        self._begun += 1
        config = {"number": number, "architecture": facts["architecture"]}
        trial = Trial(trial_id=str(number), config=config, row=entry.row)
        if self._scheduler is not None:
            self._scheduler.on_trial_add(None, trial)
        return trial

    def _train(self, trial: Trial) -> None:
        """Until its next report."""
        until = self._seconds[trial.row]
        already = until[trial.reports - 1] if trial.reports else 0.0
        self._scheduled += 1
        heapq.heappush(self._events, (self._clock + float(until[trial.reports] - already), self._scheduled, trial))

    def _report(self, trial: Trial) -> None:
        epoch, error = self._table.epochs[trial.reports], float(self._errors[trial.row, trial.reports])
        trial.reports += 1
        record = self._history[trial.number]
        self._history.put(replace(record, errors={**record.errors, epoch: error}))
        decision = self._decision(trial, {"epoch": epoch, "training_iteration": epoch, "validation_error": error})
        if trial.reports == len(self._table.epochs):
            self._end(trial, COMPLETED)
        elif decision == STOP:
            self._end(trial, PRUNED)
        else:
            self._train(trial)

    def _decision(self, trial: Trial, result: dict[str, Any]) -> str:
        if self._scheduler is None:
            return CONTINUE
        decision = self._scheduler.on_trial_result(None, trial, result)
        if decision not in (CONTINUE, STOP):
            raise ValueError(f"a scheduler must decide {CONTINUE} or {STOP} here, got {decision!r}")
        if decision == CONTINUE and trial.reports == len(self._table.epochs):
            self._scheduler.on_trial_complete(None, trial, result)
        return decision

    def _end(self, trial: Trial, outcome: str) -> None:
        """With what it has reported; those that wait for the same architecture are answered."""
        record = self._history[trial.number]
        seconds = float(self._seconds[trial.row, trial.reports - 1])
        self._history.put(replace(record, outcome=outcome, facts={**record.facts, "seconds": seconds}))
        assert record.error is not None, "a trial ends with a report"
        self._ends.append((trial.row, record.epochs, record.error, self._clock))
        name = record.facts["fingerprint"]
        self._answers[name] = trial.number
        for number in self._waiting.pop(name):
            self._answer(number, trial.number)

    def _answer(self, number: int, original: int) -> None:
        """A duplicate, from what is known."""
        record, known = self._history[number], self._history[original]
        facts = {**record.facts, "duplicate_of": original}
        self._history.put(replace(record, outcome=DUPLICATE, errors=known.errors, facts=facts))
