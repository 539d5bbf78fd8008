"""One search, without its machinery: what to train next, what a result means, when to stop.

The runtime (Ray Tune) calls `propose`, `on_epoch` and `on_end`; everything is kept in the store before it counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from search_spaces.budget import Budget
from search_spaces.space import SearchSpace
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TRAINED, TrialRecord
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


@dataclass(kw_only=True)
class Session:
    """The state of a search between proposals; rebuilt from the store when a search is resumed."""

    space: SearchSpace
    store: TrialStore
    budget: Budget
    tracker: Tracker
    measure: Callable[[Architecture], Complexity]
    trials: int
    """Trials to train in all, resumed ones included."""
    epochs: int
    """Epochs of a trial that nothing stops."""
    max_failures: int
    """Failed trials in a row after which the search stops."""
    begin: Callable[[int, Architecture], None]
    """Told of every trial before it is trained."""
    say: Callable[[str], None]
    """Where progress goes, a line at a time."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Facts noted with every trial, such as the data that it was trained on."""
    stopped: str | None = None
    """Why no more trials are started, once that is so."""
    failed: bool = False
    """Stopped because of failures: the trials still running are ended too."""
    running: dict[int, float] = field(default_factory=dict)
    """Start time by number of the trials being trained."""

    def __post_init__(self) -> None:
        records = self.store.records()
        self._trained = sum(r.outcome in TRAINED for r in records)
        self._pruned = sum(r.outcome == PRUNED for r in records)
        self._failures_in_a_row = 0
        self._orphans = [r.number for r in records if r.outcome == RUNNING]
        self._known = {r.fingerprint: r.number for r in records if r.fingerprint and r.outcome in (COMPLETED, PRUNED)}
        self._waiting: dict[str, list[int]] = {}
        self._best = min((r.error for r in records if r.outcome == COMPLETED and r.error is not None), default=None)

    @property
    def done(self) -> bool:
        """Nothing is being trained and nothing more will be."""
        return not self.running and (self.stopped is not None or self._trained >= self.trials)

    def propose(self) -> Assignment | None:
        """The next trial to train, or None where none is due (see `done` and `stopped`).

        Proposals that need no training (duplicates, refused ones) are closed on the way.
        """
        wasted = _wasted(self.store.records()) if self._due else 0
        while self._due:
            resumed = bool(self._orphans)
            uniform = wasted >= RUT and wasted % 2 == 0
            record = self.store.adopt(self._orphans.pop(0)) if resumed else self.store.ask(uniform=uniform)
            architecture = self._admit(record)
            if architecture is not None:
                self.running[record.number] = time.monotonic()
                return Assignment(number=record.number, architecture=architecture, resumed=resumed)
            wasted += 1
            if wasted >= GIVE_UP or (not self.space.knobs and not resumed):
                self.stopped = f"no new architecture within the budget in the last {wasted:,} proposals"
        return None

    def on_epoch(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A trial finished an epoch. An epoch that was reported before a restart is not noted twice."""
        if self.store.report(number, metrics["epoch"], metrics["validation_error"]):
            self.tracker.log(number, metrics)

    def on_end(self, number: int, *, failure: str | None = None) -> None:
        """A trial came to its end: failed for the reason given, completed, or stopped by the scheduler before that."""
        seconds = time.monotonic() - self.running.pop(number)
        record = self.store.record(number)
        if self.failed and failure is None and record.epochs < self.epochs:
            return  # ended with the search, not by the scheduler: it stays open for a resumed one
        failure = failure or _useless(record)
        outcome = FAILED if failure else COMPLETED if record.epochs >= self.epochs else PRUNED
        facts = {"seconds": round(seconds, 3)} | ({"reason": failure} if failure else {})
        self.store.finish(number, outcome, facts)
        self._count(self.store.record(number))

    @property
    def _due(self) -> bool:
        return self.stopped is None and self._trained + len(self.running) < self.trials

    def _admit(self, record: TrialRecord) -> Architecture | None:
        """The architecture to train, or None after the proposal was answered without training."""
        try:
            architecture = self.space.decode(record.values)
        except ValueError as error:
            self._refuse(record.number, str(error), {"decodable": 1.0})
            return None
        cost = self.measure(architecture)
        fingerprint = architecture.fingerprint()
        facts = {"fingerprint": fingerprint, "architecture": architecture.to_dict(), **asdict(cost), **self.about}
        self.store.note(record.number, facts)
        if refusal := self.budget.refusal(cost):
            self._refuse(record.number, refusal, self.budget.violations(cost))
            return None
        if fingerprint in self._known:
            self._answer(record.number, self.store.record(self._known[fingerprint]))
            return None
        if any(self.store.record(n).fingerprint == fingerprint for n in self.running):
            self._waiting.setdefault(fingerprint, []).append(record.number)
            return None
        self.begin(record.number, architecture)
        self._track_start(record.number)
        return architecture

    def _refuse(self, number: int, reason: str, violations: Mapping[str, float]) -> None:
        self.store.constrain(number, violations)
        self.store.finish(number, REFUSED, {"reason": reason})

    def _answer(self, number: int, original: TrialRecord) -> None:
        self.store.finish_duplicate(number, original)
        self._track_start(number)
        self.tracker.finish(number, _summary(self.store.record(number)))

    def _track_start(self, number: int) -> None:
        record = self.store.record(number)
        self.tracker.start(number, {**record.values, **{name: record.facts[name] for name in _TRACKED}})

    def _count(self, record: TrialRecord) -> None:
        self._trained += 1
        self.tracker.finish(record.number, _summary(record))
        fingerprint = record.fingerprint or ""
        if record.outcome == FAILED:
            self._failures_in_a_row += 1
        else:
            self._failures_in_a_row = 0
            self._pruned += record.outcome == PRUNED
            self._known[fingerprint] = record.number
        for number in self._waiting.pop(fingerprint, []):
            self._answer(number, record)
        if record.outcome == COMPLETED and record.error is not None:
            self._best = record.error if self._best is None else min(self._best, record.error)
        if self._failures_in_a_row >= self.max_failures:
            self.failed = True
            self.stopped = f"{self._failures_in_a_row} trials failed in a row; the last one: {_last_line(record)}"
        self.say(self._line(record))

    def _line(self, record: TrialRecord) -> str:
        error = "" if record.error is None else f" error {record.error:.4f} after {record.epochs} epochs"
        detail = f" {_last_line(record)}" if record.outcome == FAILED else f" {record.facts['params']:,} params"
        best = "" if self._best is None else f", best {self._best:.4f}"
        progress = f"[{self._trained}/{self.trials}, {self._pruned} pruned{best}]"
        return f"trial {record.number:>4} {record.outcome:<9}{error}{detail}  {progress}"


def _wasted(records: list[TrialRecord]) -> int:
    """How many of the last proposals in a row led to no training."""
    led_to_training = (i for i, r in enumerate(reversed(records)) if r.outcome not in (DUPLICATE, REFUSED))
    return next(led_to_training, len(records))


def _useless(record: TrialRecord) -> str | None:
    """Why a trial that ended by itself has failed nevertheless."""
    if record.error is None:
        return "the trial ended without a result"
    return None if math.isfinite(record.error) else f"validation error {record.error} after {record.epochs} epochs"


def _summary(record: TrialRecord) -> dict[str, Any]:
    known = {"outcome": record.outcome, "error": record.error, "epochs": record.epochs, "reason": _last_line(record)}
    return known | {name: record.facts.get(name) for name in ("seconds", "duplicate_of")}


def _last_line(record: TrialRecord) -> str:
    lines = str(record.facts.get("reason", "")).strip().splitlines()
    return lines[-1] if lines else ""
