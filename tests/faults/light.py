"""A search without Ray and without training, in a process of its own that starts within a moment and can be killed.

All that is written is written as in `search.py`: the journal, the folder of each trial, the tables, W&B's ledger.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from search_spaces.staged import StagedSpace
from searchers import results
from searchers.record import TrialRecord
from searchers.run_folder import RunFolder
from searchers.session import Session
from seqconv.files import remove_leftovers
from tests.searchers.doctor import runs
from tests.searchers.fakes import STAGE, measure
from tests.searchers.runtime import learn
from training import checkpoint
from training.checkpoint import Checkpoint

SPACE = StagedSpace(name="light", pyramid=(1, 2), widening=1, stage1=STAGE, stage2=STAGE)
FAILS, PRUNED = 5, 3
"""Every so manieth trial fails, or is stopped after its first epoch."""
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__, "pandas", "pyarrow.parquet"])


class Driver:
    """The process of a search, begun or gone on with.

    Args:
        run: its folder.
        trials: to train in all.
        longest: bytes after which writing to a file kills it in the middle of the write; None is any length.
    """

    def __init__(self, run: Path, *, trials: int, longest: int | None = None) -> None:
        self._heard, told = _PROCESSES.Pipe(duplex=False)
        self._process = _PROCESSES.Process(target=_drive, args=(run, trials, longest, told))
        self._process.start()
        told.close()

    def kill(self, after: float) -> None:
        """kill -9 after so many seconds, where it lives that long."""
        self._process.join(after)
        self._process.kill()

    def end(self) -> tuple[int | None, list[TrialRecord]]:
        """Exit code, and what it said of each trial that had ended by then."""
        told: list[TrialRecord] = []
        try:
            while True:
                told.append(self._heard.recv())
        except EOFError:
            self._process.join()
        return self._process.exitcode, told


def _drive(run: Path, trials: int, longest: int | None, told: Connection) -> None:
    if longest is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest))
    folder, search = runs.begun(run, SPACE, trials=trials, measure=measure)
    while (assignment := search.propose()) is not None:
        _train(folder, search, assignment.number)
        told.send(search.store.record(assignment.number))
        results.write_tables(folder, search.store.records())
    runs.conclude(folder, search.store.records())


def _train(folder: RunFolder, search: Session, number: int) -> None:
    """With the files that the epochs of a trial leave."""
    remove_leftovers(folder.trial(number))
    if number % FAILS == 1:
        search.on_end(number, failure="Traceback\nCrash: out of luck\n")
        return
    errors = learn(search, number)[: 1 if number % PRUNED == 2 else None]
    rows = [{"epoch": epoch, "validation_error": error} for epoch, error in enumerate(errors, start=1)]
    identity = {"architecture": search.history[number].fingerprint}
    for epoch in range(1, len(rows) + 1):
        checkpoint.save_metrics(folder.trial(number), rows[:epoch])
        checkpoint.save(folder.trial(number), Checkpoint(identity=identity, history=rows[:epoch], state=None))
        search.on_epoch(number, rows[epoch - 1])
    search.on_end(number)
