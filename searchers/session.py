"""One search, without its machinery: what to train next, what a result means, when to stop.

The runtime (Ray Tune) calls `propose`, `on_epoch` and `on_end`; everything is kept in the store before it counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from search_spaces.budget import Budget
from search_spaces.knobs import Value
from searchers.algorithms.random import RandomSearch, python_random
from searchers.assignment import Assignment
from searchers.generations import Generations
from searchers.halting import halting
from searchers.history import History
from searchers.judging import Judged, answers, excess, judge, nearest, over, useless
from searchers.population import PopulationBasedTraining, draw, in_turn, successor
from searchers.progress import Progress
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.searcher import Problem, Propose
from searchers.study import TrialStore
from searchers.telling import Telling
from searchers.tracking.tracker import Tracker
from seqconv import Architecture, Complexity

RUT = 20
"""Proposals in a row that led to no training, after which every other one is drawn blindly, to leave a rut."""
GIVE_UP = 1000
"""Proposals in a row that led to no training, after which the space counts as exhausted."""
IDLE = 1.0
"""Seconds between two looks at what other drivers do, while nothing is due here."""


@dataclass(kw_only=True)
class Session:
    """The state of a search between proposals; rebuilt from the store when a search is resumed."""

    problem: Problem
    """What is searched, what is minimised, and for how many epochs a trial trains that nothing stops."""
    store: TrialStore
    searcher: Propose
    """Proposes knob values."""
    seed: int
    """With the number of a trial, all the randomness of its proposal."""
    budget: Budget
    tracker: Tracker
    measure: Callable[[Architecture], Complexity]
    trials: int
    """Trials to train in all, resumed ones included."""
    max_failures: int
    """Failed trials in a row after which the search stops."""
    begin: Callable[[int, Architecture], None]
    """Told of every trial before it is trained."""
    progress: Progress
    """Shown to the user."""
    ended: Callable[[], None] = lambda: None
    """Called after every trial that was trained."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """What a trial may measure at most, by objective; known only once it is measured."""
    rungs: tuple[int, ...] = ()
    """Epochs after which a scheduler may stop a trial."""
    population: PopulationBasedTraining | None = None
    """Where there is one, every trial that begins is a member of it."""
    kept: Callable[[int, int], bool] = lambda number, epoch: True
    """Whether the weights of a trial after an epoch are there, for another one to go on from."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Facts noted with every trial, such as the data that it was trained on."""
    stopped: str | None = None
    """Why no more trials are started, once that is so."""
    failed: bool = False
    """Stopped because of failures: the trials still running are ended too."""
    lost: bool = False
    """The store is out of reach: nothing more is told it."""
    running: dict[int, float] = field(default_factory=dict)
    """Start time by number of the trials being trained."""

    def __post_init__(self) -> None:
        self.history = History(self.store.records())
        self._trained = sum(r.counts for r in self.history)
        self._blind = RandomSearch().bind(self.problem)
        self._failures_in_a_row = 0
        population, epochs = self.population, self.problem.epochs
        self._generations = Generations(population, epochs, self.history) if population is not None else None
        resting = self._generations.resting if self._generations else {}
        open_ = [r for r in self.history if r.outcome == RUNNING and r.number not in resting]
        self._orphans = [r.number for r in open_ if self.store.owns(r)]
        self._known = {r.fingerprint: r.number for r in self.history if r.fingerprint and answers(r, self.limits)}
        self._training = {r.key: r.number for r in reversed(open_) if not self.store.owns(r)}
        self._waiting: dict[str, list[int]] = {}
        self._waited: dict[int, float] = {}
        self._seconds: dict[int, float] = {}
        self._telling = Telling(self.tracker, self.rungs)
        self._looked = -math.inf

    @property
    def done(self) -> bool:
        """Nothing is being trained and nothing more will be."""
        ended = self.stopped is not None or self._trained >= self.trials
        return not self.running and (self.failed or (ended and not self._waiting))

    @halting
    def propose(self) -> Assignment | None:
        """The next trial to train, or None where none is due (see `done` and `stopped`).

        Proposals that need no training (duplicates, refused ones) are closed on the way.
        """
        if self._due or time.monotonic() - self._looked >= IDLE:
            self._look()
        wasted = self._wasted() if self._due else 0
        while self._due:
            if self._orphans:
                assignment = self._adopt(self._orphans.pop(0))
            elif self._generations and self._generations.ready:
                assignment = self._go_on(self._generations.ready.pop(0))
            elif self._generations and self._generations.vacant:
                assignment = self._replace(self._generations.vacant.pop(0))
            elif self._generations and self._members >= self.trials:
                if not self._generations.complete(self.history, self.running):
                    break
                for number in self._generations.compare(self.history):
                    self._close(number, PRUNED)
                continue
            elif (values := self._proposal(blind=wasted >= RUT and wasted % 2 == 0)) is not None:
                assignment = self._ask(values)
            else:
                self._exhausted("is left in the space")
                break
            if assignment is not None:
                self.running[assignment.number] = time.monotonic()
                return assignment
            wasted += 1
            if wasted >= GIVE_UP:
                self._exhausted(f"in the last {wasted:,} proposals")
        return None

    @halting
    def on_measured(self, number: int, measured: Mapping[str, Any]) -> None:
        """What was measured of a trial, before its training or of its trained weights.

        What was measured before a restart stays as it is.
        """
        if not self._holds(number):
            return
        facts = self.history[number].facts
        self.store.note(number, {name: value for name, value in measured.items() if name not in facts})
        self._put(self.store.record(number))

    def beyond_limits(self, number: int, measured: Mapping[str, Any]) -> bool:
        """Whether a trial that measures so is not worth training. What was measured before a restart stays as it is."""
        facts = self.history[number].facts
        return bool(excess({name: facts.get(name, value) for name, value in measured.items()}, self.limits))

    def rests_after(self, number: int, epoch: int) -> bool:
        """Whether a trial is to wait after this epoch until the other members of its population have come as far."""
        return self._generations is not None and self._generations.ends(number, epoch)

    @halting
    def on_epoch(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch. An epoch that was reported before a restart is not noted twice."""
        if not self._holds(number):
            return
        new = self.store.report(number, metrics["epoch"], metrics["validation_error"])
        spent = metrics.get("seconds", 0.0) if new else 0.0
        self._waited.setdefault(number, max(0.0, time.monotonic() - self.running[number] - spent))
        if new:
            self.progress.epoch(self._put(self.store.record(number)))
            self._telling.log(number, metrics)

    def halt(self, reason: str) -> None:
        """Start nothing more and end what runs, through no fault of the trials: they stay open for a resumed search."""
        self.failed = True
        self.stopped = f"{reason.strip().splitlines()[-1]}; once that is mended, the same command goes on"

    @halting
    def on_end(self, number: int, *, failure: str | None = None) -> None:
        """A trial came to its end: failed for the reason given, completed, or stopped by the scheduler before that."""
        spent = time.monotonic() - self.running.pop(number)
        self._seconds[number] = self._seconds.get(number, 0.0) + spent
        if self.lost:
            return
        self._look()
        record = self.history[number]
        if not self._holds(number):
            self._telling.finish(record)
            return
        if self.failed and failure is None and record.epochs < self.problem.epochs:
            return  # ended with the search, not by the scheduler: it stays open for a resumed one
        if not failure and not record.errors and (beyond := excess(record.measures(), self.limits)):
            self._count(self._put(self.store.finish(number, REFUSED, {"reason": over(beyond, self.limits)}, beyond)))
            return
        failure = failure or useless(record, self.problem.objectives, self.limits)
        if not failure and self._generations and self._generations.rests(record):
            self._generations.resting[number] = record.epochs
            del self._training[record.key]
            self.progress.rest(record)
            return
        ended = COMPLETED if record.epochs >= self.problem.epochs else PRUNED
        self._close(number, FAILED if failure else ended, failure)

    def _close(self, number: int, outcome: str, failure: str | None = None) -> None:
        seconds = self._seconds.pop(number, 0.0)
        facts: dict[str, Any] = {"seconds": round(seconds, 3), "waited": round(self._waited.pop(number, seconds), 3)}
        facts |= {"tracked": round(self._telling.spent(number), 6)}
        facts |= {"reason": failure} if failure else {}
        beyond = {} if failure else excess(self.history[number].measures(), self.limits)
        self._count(self._put(self.store.finish(number, outcome, facts, beyond)))

    def _exhausted(self, where: str) -> None:
        self.stopped = f"no new architecture within the budget {where}{nearest(self.history, self.limits)}"

    @property
    def _due(self) -> bool:
        """Whether a trial is to be trained that is not being trained."""
        return self.stopped is None and self._trained + len(self._training) < self.trials

    @property
    def _members(self) -> int:
        """How many members the population has by now."""
        return self._trained + len(self._training) + (self._generations.open if self._generations else 0)

    def _holds(self, number: int) -> bool:
        """Whether a trial is still this driver's: it may have been silent for so long that another one has taken it."""
        record = self.history[number]
        return not self.lost and record.outcome == RUNNING and self.store.owns(record)

    def _look(self, begun: int | None = None) -> None:
        """Take note of what other drivers have done, but for a trial that is being begun here."""
        self._looked = time.monotonic()
        for record in self.store.news():
            before = self.history[record.number] if record.number < len(self.history) else None
            if record != before:
                self.history.put(record)
                if record.number != begun:
                    self._noticed(record, before)

    def _noticed(self, record: TrialRecord, before: TrialRecord | None) -> None:
        number, key = record.number, record.key
        first = self._training.get(key)
        if number in self._orphans and not self._holds(number):
            self._orphans.remove(number)
        if record.outcome != RUNNING:
            if before is None or before.outcome == RUNNING:
                self._ended_elsewhere(record)
        elif not self.store.owns(record):
            self._training[key] = number if first is None else min(first, number)
        elif number not in self.running and number not in {*self._orphans, *chain(*self._waiting.values())}:
            # Taken over from a driver that is gone, or begun here twice because an answer of the store was lost.
            if first == number:
                del self._training[key]
                self.progress.note(f"trial {number:>4} of a driver that gives no sign of life is gone on with here")
            self._orphans.append(number)

    def _ended_elsewhere(self, record: TrialRecord) -> None:
        key = record.key
        self._trained += record.counts
        if answers(record, self.limits):
            self._known[record.fingerprint or ""] = record.number
        self.progress.end(record)
        if self._training.get(key) == record.number:
            del self._training[key]
            original = self.history[record.facts["duplicate_of"]] if record.outcome == DUPLICATE else record
            self._answer_waiting(key, original)

    def _answer_waiting(self, key: str, original: TrialRecord) -> None:
        for number in self._waiting.pop(key, []):
            self._answered(self.store.finish_duplicate(number, original))

    def _wasted(self) -> int:
        """How many of the last proposals in a row led to no training."""
        last = (self.history[number].outcome for number in range(len(self.history) - 1, -1, -1))
        return next((i for i, outcome in enumerate(last) if outcome not in (DUPLICATE, REFUSED)), len(self.history))

    def _put(self, record: TrialRecord) -> TrialRecord:
        if record.number > len(self.history):
            self._look(begun=record.number)
        self.history.put(record)
        return record

    def _proposal(self, *, blind: bool) -> dict[str, Value] | None:
        """What the searcher proposes, or one that draws at random; None where nothing is left."""
        values = (self._blind if blind else self.searcher)(self.history, self._generator())
        if values is None and self.population:
            values = in_turn(self.history)
        return None if values is None else dict(values)

    def _generator(self) -> np.random.Generator:
        """All the randomness of the next trial."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, len(self.history), *self.store.salt]))

    def _ask(self, values: Mapping[str, Value]) -> Assignment | None:
        """Open a trial for a proposal; None where it needs no training, and was answered."""
        judged = self._judge(values)
        if judged.architecture is None or judged.reason:
            reason = {"reason": judged.reason}
            self.progress.end(self._put(self.store.refuse(values, {**judged.facts, **reason}, judged.violations)))
            return None
        if self.population:
            return self._begin(values, judged, {"recipe": draw(self.population, python_random(self._generator()))})
        if (original := self._known.get(judged.facts["fingerprint"])) is not None:
            self._answered(self.store.duplicate(values, judged.facts, self.history[original]))
            return None
        return self._begin(values, judged, {})

    def _go_on(self, number: int) -> Assignment:
        """A member that was compared and is not among the worst."""
        record = self.history[number]
        self.progress.begin(record)
        self._training[record.key] = number
        return self._assignment(record, Architecture.from_dict(record.facts["architecture"]), resumed=True)

    def _replace(self, number: int) -> Assignment | None:
        """Open a trial in the place of one that ended among the worst; None where there is nothing to go on from."""
        assert self.population is not None
        place = successor(self.population, self.history, number, python_random(self._generator()), self.kept)
        if place is None:
            return None
        values = self.history[place.parent].values
        judged = self._judge(values)
        return None if judged.reason else self._begin(values, judged, asdict(place))

    def _begin(self, values: Mapping[str, Value], judged: Judged, facts: Mapping[str, Any]) -> Assignment | None:
        assert judged.architecture is not None
        record = self._put(self.store.begin(values, {**judged.facts, **facts}))
        if self._trained + sum(number < record.number for number in self._training.values()) >= self.trials:
            reason = {"reason": "another driver has begun the last trial meanwhile"}
            self.progress.end(self._put(self.store.finish(record.number, REFUSED, reason)))
            return None
        return self._start(record, judged.architecture, resumed=False)

    def _adopt(self, number: int) -> Assignment | None:
        """Go on with a trial that a killed search left open."""
        record = self.history[number]
        judged = self._judge(record.values)
        self.store.note(number, {name: value for name, value in judged.facts.items() if name not in record.facts})
        if judged.architecture is None or judged.reason:
            reason = {"reason": judged.reason}
            record = self.store.finish(number, REFUSED, reason, judged.violations)
            if record.fingerprint is None:
                self.progress.end(self._put(record))
            else:
                self._answered(record)
            return None
        return self._start(self._put(self.store.record(number)), judged.architecture, resumed=True)

    def _judge(self, values: Mapping[str, Value]) -> Judged:
        return judge(values, self.problem.space, self.budget, measure=self.measure, about=self.about)

    def _start(self, record: TrialRecord, architecture: Architecture, *, resumed: bool) -> Assignment | None:
        """To be trained now; None where the same architecture was trained, or is being trained, which is waited for."""
        key = record.key
        if (original := self._known.get(key)) is not None:
            self._answered(self.store.finish_duplicate(record.number, self.history[original]))
            return None
        first = self._training.get(key)
        if first is not None and (first in self.running or first < record.number):
            self._waiting.setdefault(key, []).append(record.number)
            return None
        self._training[key] = record.number
        self.begin(record.number, architecture)
        self.progress.begin(record)
        self._telling.start(record)
        return self._assignment(record, architecture, resumed=resumed)

    def _assignment(self, record: TrialRecord, architecture: Architecture, *, resumed: bool) -> Assignment:
        if self._generations:
            self._generations.begin(record)
        parent = None if record.parent is None else (record.parent, record.begun)
        return Assignment(
            number=record.number, architecture=architecture, resumed=resumed, recipe=record.recipe, parent=parent
        )

    def _answered(self, record: TrialRecord) -> None:
        self.progress.end(self._put(record))
        self._telling.start(record)
        self._telling.spent(record.number)
        self._telling.finish(record)

    def _count(self, record: TrialRecord) -> None:
        self._trained += record.counts
        self._telling.finish(record)
        self._training.pop(record.key, None)  # a member that rests is not being trained
        if record.outcome == PRUNED and record.recipe is not None and self._generations:
            self._generations.vacant.append(record.number)
        if record.outcome == FAILED:
            self._failures_in_a_row += 1
        else:
            self._failures_in_a_row = 0
            self._known[record.fingerprint or ""] = record.number
        self.progress.end(record)
        self._answer_waiting(record.key, record)
        self.ended()
        if self._failures_in_a_row >= self.max_failures:
            self.failed = True
            self.stopped = f"{self._failures_in_a_row} trials failed in a row; the last one: {record.short_reason}"
