"""A long search with many trials at a time: what a proposal and its record cost, with the store; nothing is trained.

    python benchmarks/searchers/scale.py --contenders guided random+asha

The session of a search runs in simulated time, with its journal, its scheduler and the counting of parameters, in the
space `windowed` with made-up errors; all but Ray is there. Every contender has an interpreter of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import contenders
from overhead import EPOCHS, numbers, windowed
from simulated_ray import SimulatedRay, Spent, median_ms, median_processor_ms
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


class _Search:
    """A session, and what takes the place of Ray."""

    def __init__(self, contender: str, trials: int, workers: int, folder: Path) -> None:
        self._contender, self._workers, self._folder = contender, workers, folder
        problem = Problem(space=windowed(), epochs=EPOCHS)
        self._counting = Spent()
        self._session = Session(
            problem=problem,
            store=TrialStore(folder, problem.space),
            searcher=contenders.propose(contender, problem),
            seed=0,
            budget=Budget(),
            tracker=Nothing(),
            measure=self._measure,
            trials=trials,
            max_failures=1,
            begin=lambda number, architecture: None,
            progress=_Silent(),
        )
        scheduler = contenders.scheduler(contender, problem, self._session.history)
        self._ray = SimulatedRay(self._session, scheduler, workers)

    def rows(self, sizes: Sequence[int]) -> list[Row]:
        found: list[Row] = []
        measuring: list[Spent] = []
        for trials in self._ray.begun():
            measuring.append(self._counting)
            self._counting = Spent()
            if trials in sizes:
                found.append(self._row(trials, measuring[-WINDOW:]))
        return found

    def _measure(self, architecture: Architecture) -> Complexity:
        began = Spent.until_here()
        found = measure(architecture, resolution=32, classes=10)
        self._counting += Spent.until_here() - began
        return found

    def _row(self, trials: int, measuring: Sequence[Spent]) -> Row:
        whole = zip(self._ray.proposing[-WINDOW:], measuring, strict=True)
        proposing = [proposed - measured for proposed, measured in whole]
        recording = self._ray.recording(WINDOW)
        return Row(
            contender=self._contender,
            workers=self._workers,
            trials=trials,
            propose_ms=median_ms(proposing),
            measure_ms=median_ms(measuring),
            record_ms=median_ms(recording),
            highest_ms=round(1000 * max(spent.seconds for spent in proposing), 2),
            processor_ms=round(median_processor_ms(proposing) + median_processor_ms(recording), 2),
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


if __name__ == "__main__":
    main()
