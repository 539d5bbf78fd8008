"""One search, without its machinery: what to train next, what a result means, when to stop.

The runtime (Ray Tune) calls `propose`, `on_epoch` and `on_end`; everything is kept in the store before it counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from search_spaces.budget import Budget
from search_spaces.knobs import Value
from searchers.algorithms.random import RandomSearch, python_random
from searchers.generations import Generations
from searchers.history import History
from searchers.judging import Judged, excess, judge, over
from searchers.objectives import ERROR, MEASURED
from searchers.population import PopulationBasedTraining, draw, in_turn, successor
from searchers.progress import Progress
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.searcher import Problem, Propose
from searchers.study import TrialStore
from searchers.tracking.tracker import Tracker
from seqconv import Architecture, Complexity

RUT = 20
"""Proposals in a row that led to no training, after which every other one is drawn blindly, to leave a rut."""
GIVE_UP = 1000
"""Proposals in a row that led to no training, after which the space counts as exhausted."""
_TRACKED = ("fingerprint", *(field.name for field in fields(Complexity)))


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial that is to be trained now."""

    number: int
    architecture: Architecture
    resumed: bool
    """An earlier process had begun it."""
    recipe: Mapping[str, float] | None = None
    """Settings of its own, of a member of a population."""
    parent: tuple[int, int] | None = None
    """The trial that it goes on from, and after which epoch."""


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
        self._orphans = [r.number for r in self.history if r.outcome == RUNNING and r.number not in resting]
        self._known = {r.fingerprint: r.number for r in self.history if r.fingerprint and self._answers(r)}
        self._training: dict[str, int] = {}
        self._waiting: dict[str, list[int]] = {}
        self._waited: dict[int, float] = {}
        self._seconds: dict[int, float] = {}
        self._tracked: dict[int, float] = {}

    @property
    def done(self) -> bool:
        """Nothing is being trained and nothing more will be."""
        return not self.running and (self.stopped is not None or self._trained >= self.trials)

    def propose(self) -> Assignment | None:
        """The next trial to train, or None where none is due (see `done` and `stopped`).

        Proposals that need no training (duplicates, refused ones) are closed on the way.
        """
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
                self.stopped = f"no new architecture within the budget is left in the space{self._nearest()}"
                break
            if assignment is not None:
                self.running[assignment.number] = time.monotonic()
                return assignment
            wasted += 1
            if wasted >= GIVE_UP:
                last = f"in the last {wasted:,} proposals"
                self.stopped = f"no new architecture within the budget {last}{self._nearest()}"
        return None

    def on_measured(self, number: int, measured: Mapping[str, Any]) -> None:
        """What was measured of a trial, before its training or of its trained weights.

        What was measured before a restart stays as it is.
        """
        facts = self.history[number].facts
        self.store.note(number, {name: value for name, value in measured.items() if name not in facts})
        self._put(self.store.record(number))

    def beyond_limits(self, number: int, measured: Mapping[str, Any]) -> bool:
        """Whether a trial that measures so is not worth training. What was measured before a restart stays as it is."""
        facts = self.history[number].facts
        return bool(self._excess({name: facts.get(name, value) for name, value in measured.items()}))

    def rests_after(self, number: int, epoch: int) -> bool:
        """Whether a trial is to wait after this epoch until the other members of its population have come as far."""
        return self._generations is not None and self._generations.ends(number, epoch)

    def on_epoch(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch. An epoch that was reported before a restart is not noted twice."""
        new = self.store.report(number, metrics["epoch"], metrics["validation_error"])
        spent = metrics.get("seconds", 0.0) if new else 0.0
        self._waited.setdefault(number, max(0.0, time.monotonic() - self.running[number] - spent))
        if new:
            self.progress.epoch(self._put(self.store.record(number)))
            self._track(number, self.tracker.log, metrics)

    def halt(self, reason: str) -> None:
        """Start nothing more and end what runs, through no fault of the trials: they stay open for a resumed search."""
        self.failed = True
        self.stopped = f"{reason.strip().splitlines()[-1]}; once that is mended, the same command goes on"

    def on_end(self, number: int, *, failure: str | None = None) -> None:
        """A trial came to its end: failed for the reason given, completed, or stopped by the scheduler before that."""
        spent = time.monotonic() - self.running.pop(number)
        self._seconds[number] = self._seconds.get(number, 0.0) + spent
        record = self.history[number]
        if self.failed and failure is None and record.epochs < self.problem.epochs:
            return  # ended with the search, not by the scheduler: it stays open for a resumed one
        if not failure and not record.errors and (beyond := self._excess(record.measures())):
            self._count(self._put(self.store.finish(number, REFUSED, {"reason": over(beyond, self.limits)}, beyond)))
            return
        failure = failure or self._useless(record)
        if not failure and self._generations and self._generations.rests(record):
            self._generations.resting[number] = record.epochs
            self.progress.rest(record)
            return
        self._close(
            number, FAILED if failure else COMPLETED if record.epochs >= self.problem.epochs else PRUNED, failure
        )

    def _close(self, number: int, outcome: str, failure: str | None = None) -> None:
        seconds = self._seconds.pop(number, 0.0)
        facts: dict[str, Any] = {"seconds": round(seconds, 3), "waited": round(self._waited.pop(number, seconds), 3)}
        facts |= {"tracked": round(self._tracked.pop(number, 0.0), 6)}
        facts |= {"reason": failure} if failure else {}
        beyond = {} if failure else self._excess(self.history[number].measures())
        self._count(self._put(self.store.finish(number, outcome, facts, beyond)))

    @property
    def _due(self) -> bool:
        """Whether a trial is to be trained that is not being trained."""
        return self.stopped is None and self._trained + len(self.running) < self.trials

    @property
    def _members(self) -> int:
        """How many members the population has by now."""
        return self._trained + len(self.running) + (self._generations.open if self._generations else 0)

    def _wasted(self) -> int:
        """How many of the last proposals in a row led to no training."""
        last = (self.history[number].outcome for number in range(len(self.history) - 1, -1, -1))
        return next((i for i, outcome in enumerate(last) if outcome not in (DUPLICATE, REFUSED)), len(self.history))

    def _put(self, record: TrialRecord) -> TrialRecord:
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
        return np.random.default_rng(np.random.SeedSequence([self.seed, len(self.history)]))

    def _ask(self, values: Mapping[str, Value]) -> Assignment | None:
        """Open a trial for a proposal; None where it needs no training, and was answered."""
        judged = self._judge(values)
        if judged.architecture is None or judged.reason:
            reason = {"reason": judged.reason}
            self.progress.end(self._put(self.store.refuse(values, {**judged.facts, **reason}, judged.violations)))
            return None
        if self.population:
            recipe = {"recipe": draw(self.population, python_random(self._generator()))}
            return self._begin(values, judged, recipe)
        if (original := self._known.get(judged.facts["fingerprint"])) is not None:
            self._answered(self.store.duplicate(values, judged.facts, self.history[original]))
            return None
        return self._begin(values, judged, {})

    def _go_on(self, number: int) -> Assignment:
        """A member that was compared and is not among the worst."""
        record = self.history[number]
        self.progress.begin(record)
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
        original = self._known.get(judged.facts["fingerprint"]) if record.recipe is None else None
        if original is not None:
            self._answered(self.store.finish_duplicate(number, self.history[original]))
            return None
        return self._start(self._put(self.store.record(number)), judged.architecture, resumed=True)

    def _judge(self, values: Mapping[str, Value]) -> Judged:
        return judge(values, self.problem.space, self.budget, measure=self.measure, about=self.about)

    def _start(self, record: TrialRecord, architecture: Architecture, *, resumed: bool) -> Assignment | None:
        """To be trained now; None where it waits for a trial of the same architecture that is being trained."""
        if record.recipe is None:
            fingerprint = record.fingerprint or ""
            if fingerprint in self._training:
                self._waiting.setdefault(fingerprint, []).append(record.number)
                return None
            self._training[fingerprint] = record.number
        self.begin(record.number, architecture)
        self.progress.begin(record)
        self._track_start(record)
        return self._assignment(record, architecture, resumed=resumed)

    def _assignment(self, record: TrialRecord, architecture: Architecture, *, resumed: bool) -> Assignment:
        if self._generations:
            self._generations.begin(record)
        parent = None if record.parent is None else (record.parent, record.begun)
        return Assignment(
            number=record.number, architecture=architecture, resumed=resumed, recipe=record.recipe, parent=parent
        )

    def _useless(self, record: TrialRecord) -> str | None:
        """Why a trial that ended by itself has failed nevertheless."""
        if record.error is None:
            return "the trial ended without a result"
        measures = record.measures()
        for name in dict.fromkeys((*self.problem.objectives, *self.limits)):
            if name not in measures:
                needed = "minimises" if name in self.problem.objectives else "limits"
                return f"the trial reported no {name}, which the search {needed}"
            if not math.isfinite(measures[name]):
                return f"{'validation error' if name == ERROR else name} {measures[name]} after {record.epochs} epochs"
        return None

    def _excess(self, measures: Mapping[str, float]) -> dict[str, float]:
        return excess(measures, self.limits)

    def _nearest(self) -> str:
        """Where trials were measured and none is within the limits, what the nearest of them came to."""
        known = [measures for record in self.history if (measures := record.measures()).keys() & self.limits.keys()]
        nearest = min((self._excess(measures) for measures in known), key=lambda x: sum(x.values()), default={})
        return f"; at the nearest, {over(nearest, self.limits)}" if nearest else ""

    def _answers(self, record: TrialRecord) -> bool:
        """Whether a later proposal of that architecture needs no training: its result, or a limit it breaks, is known.

        What was refused is judged anew, because a resumed search may have another budget or other limits.
        """
        measured = {name: record.facts[name] for name in MEASURED if name in record.facts}
        return record.outcome in (COMPLETED, PRUNED) or (record.outcome == REFUSED and bool(self._excess(measured)))

    def _summary(self, record: TrialRecord) -> dict[str, Any]:
        """What the tracker is told of an end; a trial that was stopped early was so at a rung, from 0."""
        known = {
            "outcome": record.outcome,
            "error": record.error,
            "epochs": record.epochs,
            "reason": record.short_reason,
        }
        known |= {"best_error": min(record.errors.values(), default=None)}
        known |= (
            {"rung": self.rungs.index(record.epochs)}
            if record.epochs in self.rungs and record.outcome == PRUNED
            else {}
        )
        return known | {name: record.facts.get(name) for name in ("seconds", "duplicate_of", *MEASURED)}

    def _answered(self, record: TrialRecord) -> None:
        self.progress.end(self._put(record))
        self._track_start(record)
        self._tracked.pop(record.number)
        self.tracker.finish(record.number, self._summary(record))

    def _track_start(self, record: TrialRecord) -> None:
        recipe = {f"recipe.{name}": value for name, value in (record.recipe or {}).items()}
        config = {**record.values, **recipe, **{name: record.facts[name] for name in _TRACKED}}
        self._track(record.number, self.tracker.start, config)

    def _track(self, number: int, tell: Callable[[int, Mapping[str, Any]], None], told: Mapping[str, Any]) -> None:
        """Tell the tracker, and count the seconds for the trial."""
        begin = time.perf_counter()
        tell(number, told)
        self._tracked[number] = self._tracked.get(number, 0.0) + time.perf_counter() - begin

    def _count(self, record: TrialRecord) -> None:
        self._trained += record.counts
        self.tracker.finish(record.number, self._summary(record))
        fingerprint = record.fingerprint or ""
        if record.recipe is None:
            del self._training[fingerprint]
        elif record.outcome == PRUNED and self._generations:
            self._generations.vacant.append(record.number)
        if record.outcome == FAILED:
            self._failures_in_a_row += 1
        else:
            self._failures_in_a_row = 0
            self._known[fingerprint] = record.number
        self.progress.end(record)
        for number in self._waiting.pop(fingerprint, []):
            self._answered(self.store.finish_duplicate(number, record))
        self.ended()
        if self._failures_in_a_row >= self.max_failures:
            self.failed = True
            self.stopped = f"{self._failures_in_a_row} trials failed in a row; the last one: {record.short_reason}"
