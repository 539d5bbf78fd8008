"""A search of very many trials on very many GPUs, in simulated time: what its driver takes of processor and memory.

    python benchmarks/searchers/long_search.py --trials 100000 --workers 1000 --run runs/long

The search is that of search.py, from its settings to its files, but for Ray and the training: errors are made up, and
an epoch takes a time that grows with the network. The run folder is one that report.py, doctor.py and search.py read.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from hydra import compose, initialize_config_dir
from simulated_ray import SimulatedRay, median_processor_ms
from summary import write

import command_line
from searchers import ray_backend, ray_cluster, ray_schedulers, ray_shared, results
from searchers.ray_cluster import Share
from searchers.run import run_search
from searchers.session import Session
from searchers.study import JOURNAL
from seqconv import validation

EVERY = 1000
"""Trials from one row to the next."""
EPOCH_SECONDS = 2e-6
"""Of an epoch, for each multiply-add of the network: about a minute for one of middling size."""
SETTINGS = ("dataset=digits", "trial.epochs=9", "tracker=none")
"""Of search.py, for little else than the search itself."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """After so many trials have begun. experiments/scale/README.md explains the columns."""

    trials: int
    workers: int
    hours: float
    driver_s: float
    tables_s: float
    propose_ms: float
    record_ms: float
    resident_mib: float
    journal_mib: float


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1000, help="trials at a time (default: %(default)s)")
    parser.add_argument("--run", type=Path, required=True, help="folder of the search")
    parser.add_argument("--out", type=Path, help="file of the rows")
    parser.add_argument("overrides", nargs="*", help="more KEY=VALUE of search.py")
    given = parser.parse_args(arguments)
    try:
        validation.integer("trials", given.trials)
        validation.integer("workers", given.workers)
        rows = search(given.trials, given.workers, given.run, given.overrides)
    except ValueError as error:
        sys.exit(f"error: {error}")
    if given.out is not None and rows:
        write(given.out, rows)


def search(trials: int, workers: int, run: Path, overrides: Sequence[str] = ()) -> list[Row]:
    """One search to its end, also one that is gone on with; what it says goes to a file beside its folder.

    Args:
        trials: to train.
        workers: trials at a time.
        run: folder of the search.
        overrides: KEY=VALUE of search.py besides `SETTINGS`.

    Raises:
        ValueError: settings that search.py refuses.
    """
    with initialize_config_dir(str(command_line.CONF), version_base="1.3"):
        chosen = [*SETTINGS, *overrides, f"run={run}", f"trials={trials}"]
        config = command_line.instantiate(compose("search", chosen), plain=True)
    simulation = _Simulation(workers, run)
    share = Share(cpu=1, gpu=0, concurrency=workers, cluster=f"{workers} simulated GPUs")
    run.parent.mkdir(parents=True, exist_ok=True)
    said = run.with_name(f"{run.name}.txt")
    with (
        mock.patch.object(ray_cluster, "connect", lambda *_, **__: share),
        mock.patch.object(ray_shared, "check_shared", lambda *_: None),
        mock.patch.object(ray_backend, "run", simulation.run),
        mock.patch.object(results, "write_tables", simulation.timed(results.write_tables)),
        said.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
    ):
        run_search(config)
    return simulation.rows


class _Simulation:
    """What takes the place of `ray_backend`, and what was measured meanwhile."""

    def __init__(self, workers: int, folder: Path) -> None:
        self._workers, self._folder = workers, folder
        self._began, self._tables = time.process_time(), 0.0
        self.rows: list[Row] = []

    def run(self, session: Session, *, scheduler: Any, **_: Any) -> None:
        ray = SimulatedRay(session, ray_schedulers.of_session(scheduler, session), self._workers)
        for trials in ray.begun():
            if trials % EVERY == 0:
                self.rows.append(self._row(trials, ray))
                print(self.rows[-1], file=sys.__stdout__, flush=True)

    def timed(self, function: Any) -> Any:
        """The function, with the processor's time that it takes added to that of the tables."""

        def wrapper(*arguments: Any) -> None:
            began = time.process_time()
            function(*arguments)
            self._tables += time.process_time() - began

        return wrapper

    def _row(self, trials: int, ray: SimulatedRay) -> Row:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Row(
            trials=trials,
            workers=self._workers,
            hours=round(ray.clock * EPOCH_SECONDS / 3600, 4),
            driver_s=round(time.process_time() - self._began, 1),
            tables_s=round(self._tables, 1),
            propose_ms=median_processor_ms(ray.proposing[-EVERY:]),
            record_ms=median_processor_ms(ray.recording(EVERY)),
            resident_mib=round(pages * resource.getpagesize() / 2**20, 1),
            journal_mib=round((self._folder / JOURNAL).stat().st_size / 2**20, 3),
        )


if __name__ == "__main__":
    main()
