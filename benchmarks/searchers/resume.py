"""How long it takes from the command that goes on with a search to the first trial that it begins.

    python benchmarks/searchers/resume.py --trials 0,1000,10000

The trials that have ended were simulated (see `long_search`); the command is search.py, on Ray, on this machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import long_search
from overhead import numbers
from summary import write

ROOT = Path(__file__).parents[2]
WITHIN = 600
"""Seconds after which the first trial should have begun."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A search. experiments/scale/README.md explains the columns."""

    ended: int
    begun_s: float
    processor_s: float
    epoch_s: float


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=numbers, default=[1000], help="that have ended (default: 1000)")
    parser.add_argument("--out", type=Path, default=Path("experiments/scale/resume.csv"), help="file")
    given = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for ended in given.trials:
            run = Path(folder, str(ended))
            long_search.search(ended, workers=2, run=run)
            rows.append(resume(run, ended))
            print(rows[-1], flush=True)
    write(given.out, rows)


def resume(run: Path, ended: int) -> Row:
    """Until the command begins a trial, on the clock and in processor time, and until that has trained an epoch.

    Args:
        run: folder of a search; the command is interrupted then.
        ended: how many of its trials have ended.
    """
    before = set((run / "trials").iterdir())
    settings = [*long_search.SETTINGS, f"run={run}", f"trials={len(before) + 10}", "concurrency=2"]
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "search.py", *settings], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while not (new := set((run / "trials").iterdir()) - before):
            _wait(process, started)
        begun, processor = time.monotonic() - started, _processor(process)
        while not any((folder / "metrics.csv").exists() for folder in new):
            _wait(process, started)
        epoch = time.monotonic() - started
        process.send_signal(signal.SIGINT)
    return Row(ended=ended, begun_s=round(begun, 1), processor_s=round(processor, 1), epoch_s=round(epoch, 1))


def _processor(process: subprocess.Popen[bytes]) -> float:
    """Seconds that the processor has worked for a process."""
    numbers_of_it = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, numbers_of_it[11:13])) / os.sysconf("SC_CLK_TCK")


def _wait(process: subprocess.Popen[bytes], started: float) -> None:
    if process.poll() is not None or time.monotonic() - started > WITHIN:
        process.kill()
        sys.exit("error: search.py began no trial")
    time.sleep(0.05)


if __name__ == "__main__":
    main()
