"""A long search with many trials at a time: what a proposal and its record cost, with the store; nothing is trained.

    python benchmarks/searchers/scale.py --contenders guided random+asha

The session of a search runs in simulated time, with its journal, its scheduler and the counting of parameters, in the
space `windowed` with made-up errors; all but Ray is there. Every contender has an interpreter of its own.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import contenders
from overhead import EPOCHS, error_after, numbers, windowed
from simulator import STOP, Scheduler, Trial
from summary import write

from search_spaces.budget import Budget
from searchers.history import History
from searchers.record import PRUNED, TrialRecord
from searchers.searcher import Problem
from searchers.session import Session
from searchers.study import JOURNAL, TrialStore
from searchers.tracking.tracker import Nothing
from seqconv import Architecture, Complexity, measure, validation

SIZES = (100, 1_000, 10_000)
WINDOW = 50
"""Trials up to each size over which times are taken."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A contender at a size. README.md explains the columns."""

    contender: str
    workers: int
    trials: int
    propose_ms: float
    measure_ms: float
    record_ms: float
    highest_ms: float
    processor_ms: float
    peak_mib: float
    journal_mib: float
    stopped: int


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contenders", nargs="+", required=True, metavar="SEARCHER[:KEY=VALUE,...][+SCHEDULER[...]]")
    parser.add_argument("--sizes", type=numbers, default=SIZES, help="in trials (default: 100,1000,10000)")
    parser.add_argument("--workers", type=int, default=64, help="trials at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("experiments/searchers/scale.csv"), help="file")
    given = parser.parse_args(arguments)
    try:
        validation.integer("workers", given.workers)
        problem = Problem(space=windowed(), epochs=EPOCHS)
        for contender in given.contenders:
            contenders.propose(contender, problem)
            contenders.scheduler(contender, problem, History())
    except ValueError as error:
        sys.exit(f"error: {error}")
    rows: list[Row] = []
    titles = ("propose", "measure", "record ms", "highest", "processor", "peak MiB", "journal")
    print(f"{'contender':<24} {'trials':>7} " + " ".join(f"{title:>9}" for title in titles))
    for contender in given.contenders:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            measured = fresh.submit(run, contender, given.sizes, given.workers).result()
        rows += measured
        for row in measured:
            times = (row.propose_ms, row.measure_ms, row.record_ms, row.highest_ms, row.processor_ms)
            cells = " ".join(f"{number:>9.2f}" for number in (*times, row.peak_mib, row.journal_mib))
            print(f"{row.contender:<24} {row.trials:>7,} {cells}", flush=True)
    write(given.out, rows)
    print(given.out)


def run(contender: str, sizes: Sequence[int], workers: int) -> list[Row]:
    """One search up to the largest size.

    Args:
        contender: as `contenders` reads it.
        sizes: trials that have begun when a row is taken, ascending.
        workers: trials at a time.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _Search(contender, max(sizes), workers, Path(folder)).rows(sizes)


@dataclass(frozen=True)
class _Spent:
    """Time that something took."""

    seconds: float = 0.0
    """Of real time."""
    processor: float = 0.0
    """Seconds in which the processor worked for this process."""

    @classmethod
    def until_here(cls) -> _Spent:
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: _Spent) -> _Spent:
        return _Spent(self.seconds + other.seconds, self.processor + other.processor)

    def __sub__(self, other: _Spent) -> _Spent:
        return _Spent(self.seconds - other.seconds, self.processor - other.processor)


class _Search:
    """A session, and what takes the place of Ray."""

    def __init__(self, contender: str, trials: int, workers: int, folder: Path) -> None:
        self._contender, self._workers, self._folder = contender, workers, folder
        self._problem = Problem(space=windowed(), epochs=EPOCHS)
        self._counting, self._measuring = _Spent(), list[_Spent]()
        self._session = Session(
            problem=self._problem,
            store=TrialStore(folder, self._problem.space),
            searcher=contenders.propose(contender, self._problem),
            seed=0,
            budget=Budget(),
            tracker=Nothing(),
            measure=self._measure,
            trials=trials,
            max_failures=1,
            begin=lambda number, architecture: None,
            progress=_Silent(),
        )
        self._scheduler: Scheduler | None = contenders.scheduler(contender, self._problem, self._session.history)
        self._events: list[tuple[float, int, Trial]] = []
        self._clock = 0.0
        self._proposing: list[_Spent] = []
        self._recording: dict[int, _Spent] = {}
        self._ended: list[int] = []

    def rows(self, sizes: Sequence[int]) -> list[Row]:
        found: list[Row] = []
        while not self._session.done:
            while len(self._events) < self._workers and self._propose():
                if len(self._proposing) in sizes:
                    found.append(self._row())
            self._clock, number, trial = heapq.heappop(self._events)
            began = _Spent.until_here()
            self._report(trial)
            self._recording[number] = self._recording.get(number, _Spent()) + _Spent.until_here() - began
        return found

    def _measure(self, architecture: Architecture) -> Complexity:
        began = _Spent.until_here()
        found = measure(architecture, resolution=32, classes=10)
        self._counting += _Spent.until_here() - began
        return found

    def _propose(self) -> bool:
        """Give a free worker a trial, where one is due."""
        self._counting, began = _Spent(), _Spent.until_here()
        assignment = self._session.propose()
        if assignment is None:
            return False
        self._proposing.append(_Spent.until_here() - began - self._counting)
        self._measuring.append(self._counting)
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
        """Until its next epoch, which takes as long as the network is large."""
        duration = self._session.history[trial.number].facts["macs"]
        heapq.heappush(self._events, (self._clock + duration, trial.number, trial))

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
        if stopped or trial.reports == EPOCHS:
            self._session.on_end(trial.number)
            self._ended.append(trial.number)
        else:
            self._train(trial)

    def _row(self) -> Row:
        proposing, measuring = self._proposing[-WINDOW:], self._measuring[-WINDOW:]
        recording = [self._recording[number] for number in self._ended[-WINDOW:]] or [_Spent()]
        return Row(
            contender=self._contender,
            workers=self._workers,
            trials=len(self._proposing),
            propose_ms=_median(proposing),
            measure_ms=_median(measuring),
            record_ms=_median(recording),
            highest_ms=round(1000 * max(spent.seconds for spent in proposing), 2),
            processor_ms=round(1000 * sum(map(_processor, (proposing, recording))), 2),
            peak_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1),
            journal_mib=round((self._folder / JOURNAL).stat().st_size / 2**20, 2),
            stopped=sum(record.outcome == PRUNED for record in self._session.history),
        )


class _Silent:
    """Progress that nobody watches."""

    def begin(self, record: TrialRecord) -> None: ...

    def epoch(self, record: TrialRecord) -> None: ...

    def end(self, record: TrialRecord) -> None: ...

    def rest(self, record: TrialRecord) -> None: ...

    def note(self, line: str) -> None: ...

    def close(self) -> None: ...


def _median(times: Sequence[_Spent]) -> float:
    return round(1000 * statistics.median(spent.seconds for spent in times), 2)


def _processor(times: Sequence[_Spent]) -> float:
    return statistics.median(spent.processor for spent in times)


if __name__ == "__main__":
    main()
