"""How long it takes from the command that goes on with a search to the first trial that it begins.

    python benchmarks/searchers/resume.py --trials 0,1000,10000

The trials that have ended were simulated (see `long_search`); the command is search.py, on Ray, on this machine.
"""

from __future__ import annotations

import argparse
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
    """A search. README.md explains the columns."""

    ended: int
    begun_s: float
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
            begun, epoch = resume(run)
            rows.append(Row(ended=ended, begun_s=begun, epoch_s=epoch))
            print(rows[-1], flush=True)
    write(given.out, rows)


def resume(run: Path) -> tuple[float, float]:
    """Seconds from the command until it begins a trial, and until that has trained an epoch; it is interrupted then.

    Args:
        run: folder of a search.
    """
    before = len(list((run / "trials").iterdir()))
    settings = [*long_search.SETTINGS, f"run={run}", f"trials={before + 10}", "concurrency=2"]
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "search.py", *settings], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while len(folders := sorted((run / "trials").iterdir())) == before:
            _wait(process, started)
        begun = time.monotonic() - started
        while not any((folder / "metrics.csv").exists() for folder in folders[before:]):
            _wait(process, started)
        epoch = time.monotonic() - started
        process.send_signal(signal.SIGINT)
    return round(begun, 1), round(epoch, 1)


def _wait(process: subprocess.Popen[bytes], started: float) -> None:
    if process.poll() is not None or time.monotonic() - started > WITHIN:
        process.kill()
        sys.exit("error: search.py began no trial")
    time.sleep(0.05)


if __name__ == "__main__":
    main()
