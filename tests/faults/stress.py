"""One search that is struck again and again at random moments, and gone on with by the same command.

    python -m tests.faults.stress --strikes 30 --out experiments/faults

Writes strikes.csv: a row for each strike, with how many trials had ended by then, how many of these are gone or changed
at the end, how long the struck process had taken until it trained, and what it left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from searchers.record import RUNNING, TRAINED, TrialRecord
from tests.search_process import Search, records, search

EPOCHS = 3
LATEST = 6.0
"""Seconds after a search has begun to train, until which it is struck."""
GRACE = 90.0
"""Seconds that processes of a search have to end after their driver."""


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One fault and what came of it."""

    fault: str
    """What was done."""
    moment: float
    """Seconds after the search had begun to train."""
    ended: int
    """Trials that had ended by then."""
    back: float
    """Seconds from the start of the process to its first epoch."""
    lost: int = 0
    """Those of them that are gone or changed at the end."""
    orphans: int = 0
    """Processes that were still there after the grace."""
    temporary: int = 0
    """Temporary files and folders that were left behind."""


def kill_driver(running: Search) -> None:
    running.signal(signal.SIGKILL)


def kill_worker(running: Search) -> None:
    for pid in running.workers()[:1]:
        os.kill(pid, signal.SIGKILL)


def kill_node(running: Search) -> None:
    """The raylet of this machine's Ray, and with it all of its workers."""
    for pid, command in running.processes().items():
        if "/raylet/raylet " in command:
            os.kill(pid, signal.SIGKILL)


def terminate(running: Search) -> None:
    running.signal(signal.SIGTERM)


def interrupt(running: Search) -> None:
    running.signal(signal.SIGINT, group=True)


FAULTS: dict[str, Callable[[Search], None]] = {
    "driver, kill -9": kill_driver,
    "worker, kill -9": kill_worker,
    "node, kill -9": kill_node,
    "driver, SIGTERM": terminate,
    "Ctrl-C": interrupt,
}
SHARES = (20, 4, 2, 2, 2)
"""How often each of them comes, out of 30."""


def ended(run: Path) -> dict[int, TrialRecord]:
    return {record.number: record for record in records(run) if record.outcome != RUNNING}


def epochs(found: list[TrialRecord]) -> int:
    """Epochs that trials have been trained for."""
    return sum(len(record.errors) for record in found)


def struck(running: Search, run: Path, fault: str, moment: float) -> tuple[Strike, dict[int, TrialRecord]]:
    """Strike a search once it has trained for that long; what had ended by then."""
    begun, before = time.monotonic(), epochs(records(run))
    running.wait(run, lambda found: epochs(found) > before)
    back = time.monotonic() - begun
    time.sleep(moment)
    FAULTS[fault](running)
    if fault == "worker, kill -9":  # which the search survives
        time.sleep(2)
        kill_driver(running)
    running.end()
    known = ended(run)
    return Strike(fault=fault, moment=round(moment, 2), ended=len(known), back=round(back, 1)), known


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strikes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    chance = random.Random(given.seed)
    plan = [fault for fault, share in zip(FAULTS, SHARES, strict=True) for _ in range(share)]
    chance.shuffle(plan)
    strikes: list[Strike] = []
    seen: list[dict[int, TrialRecord]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        run = Path(folder) / "run"
        settings = (f"run={run}", f"trial.epochs={EPOCHS}", "searcher=random")
        # Each goes on at once, while what is left of the one before may still be there.
        searches = []
        for i in range(given.strikes):
            searches.append(stack.enter_context(search(*settings, "trials=10000")))
            strike, known = struck(searches[-1], run, plan[i % len(plan)], chance.uniform(0, LATEST))
            strikes.append(strike)
            seen.append(known)
            print(f"{i + 1:>3} {strike}", flush=True)
        trained = sum(record.outcome in TRAINED for record in records(run))
        stack.enter_context(search(*settings, f"trials={trained + 4}")).succeed()
        final = ended(run)
        twice = len(final) - len({record.fingerprint for record in final.values()})
        whole = [record.number for record in records(run)] == list(range(len(final)))
        files = [path for path in run.rglob("*") if path.suffix == ".part" or path.name == ".tune"]
        deadline = time.monotonic() + GRACE
        while any(one.processes() for one in searches) and time.monotonic() < deadline:
            time.sleep(0.5)
        orphans = [len(one.processes()) for one in searches]
        temporary = [len(one.leftovers()) - count for one, count in zip(searches, orphans, strict=True)]
    strikes = [
        replace(
            strike,
            lost=sum(final.get(number) != record for number, record in seen[i].items()),
            orphans=orphans[i],
            temporary=temporary[i],
        )
        for i, strike in enumerate(strikes)
    ]
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "strikes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(strikes[0])))
        writer.writeheader()
        writer.writerows(map(asdict, strikes))
    lost, left = sum(strike.lost for strike in strikes), sum(orphans)
    print(
        f"{len(strikes)} strikes, {len(final)} trials at the end, {lost} lost, {twice} trained twice, {left} processes"
    )
    print(f"and {sum(temporary)} temporary folders left, {len(files)} temporary files in the run folder")
    return 0 if whole and not (lost or twice or files or left) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
