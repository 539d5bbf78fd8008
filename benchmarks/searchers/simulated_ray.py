"""A session in simulated time: a discrete-event loop in place of Ray Tune and the training."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from overhead import error_after
from simulator import STOP, Scheduler, Trial

from searchers.session import Session


@dataclass(frozen=True)
class Spent:
    """Time that something took."""

    seconds: float = 0.0
    """Of real time."""
    processor: float = 0.0
    """Seconds in which the processor worked for this process."""

    @classmethod
    def until_here(cls) -> Spent:
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.processor + other.processor)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.seconds - other.seconds, self.processor - other.processor)


class SimulatedRay:
    """What Ray does with a session, with made-up errors; an epoch takes as long as the network is large.

    Args:
        session: proposes and takes results.
        scheduler: decides after each epoch whether a trial goes on; None: all do.
        workers: trials at a time.
    """

    def __init__(self, session: Session, scheduler: Scheduler | None, workers: int) -> None:
        self._session, self._scheduler, self._workers = session, scheduler, workers
        self._events: list[tuple[float, int, Trial]] = []
        self.clock = 0.0
        """In multiply-adds of an image that one worker has computed."""
        self.proposing: list[Spent] = []
        """What each proposal took until its trial was open in the store."""
        self._recording: dict[int, Spent] = {}
        self._ended: list[int] = []

    def begun(self) -> Iterator[int]:
        """Runs until the session is done; yields after each trial that begins how many have begun."""
        while not self._session.done:
            while len(self._events) < self._workers and self._propose():
                yield len(self.proposing)
            self.clock, number, trial = heapq.heappop(self._events)
            began = Spent.until_here()
            self._report(trial)
            self._recording[number] = self._recording.get(number, Spent()) + Spent.until_here() - began

    def recording(self, last: int) -> list[Spent]:
        """What all that is recorded of each of the last trials to end took."""
        return [self._recording[number] for number in self._ended[-last:]] or [Spent()]

    def _propose(self) -> bool:
        """Give a free worker a trial, where one is due."""
        began = Spent.until_here()
        assignment = self._session.propose()
        if assignment is None:
            return False
        self.proposing.append(Spent.until_here() - began)
        trial = Trial(
            trial_id=str(assignment.number),
            config={"number": assignment.number, "architecture": assignment.architecture.to_dict()},
            row=assignment.number,
        )
        if self._scheduler is not None:
            self._scheduler.on_trial_add(None, trial)
        self._train(trial)
        return True

    def _train(self, trial: Trial) -> None:
        """Until its next epoch."""
        duration = self._session.history[trial.number].facts["macs"]
        heapq.heappush(self._events, (self.clock + duration, trial.number, trial))

    def _report(self, trial: Trial) -> None:
        """An epoch, as Ray would tell the session of it."""
        trial.reports += 1
        error = error_after(self._session.history[trial.number].values, trial.reports)
        self._session.on_epoch(trial.number, {"epoch": trial.reports, "validation_error": error})
        if self._scheduler is not None:
            result = {"epoch": trial.reports, "training_iteration": trial.reports, "validation_error": error}
            stopped = self._scheduler.on_trial_result(None, trial, result) == STOP
        else:
            stopped = False
        if stopped or trial.reports == self._session.problem.epochs:
            self._session.on_end(trial.number)
            self._ended.append(trial.number)
        else:
            self._train(trial)


def median_ms(times: Sequence[Spent]) -> float:
    """Of real time, in milliseconds."""
    return round(1000 * statistics.median(spent.seconds for spent in times), 2)


def median_processor_ms(times: Sequence[Spent]) -> float:
    """Of the processor's time, in milliseconds."""
    return round(1000 * statistics.median(spent.processor for spent in times), 2)
