"""A search that is killed twenty times at random, also in the middle of a write, has every trial that ever ended, once.

Without Ray, whose start takes most of the time of one that is struck: `python -m tests.faults.stress` is with it.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from searchers.doctor.request import DoctorRequest
from searchers.doctor.visit import visit
from searchers.record import RUNNING, TRAINED, TrialRecord
from searchers.study import JOURNAL
from tests.faults.light import Driver
from tests.search_process import records, timeless

pytestmark = pytest.mark.slow

STRIKES, SEED = 20, 0
LATEST = 0.5
"""Seconds after the start of a process, until which it is killed."""
MANY = 10_000
"""Trials, more than any process gets to."""
LONGEST: dict[str, Callable[[random.Random, int], int]] = {
    "in a table": lambda chance, journal: chance.randrange(8_000, 16_000),
    "in an entry of the journal": lambda chance, journal: journal + chance.randrange(6_000),
    "in a small file": lambda chance, journal: chance.randrange(1_500),
}
"""Bytes of a file after which the process that writes them is killed, by the length of the journal before."""
KINDS = (*LONGEST, "after a while")


def strike(run: Path, kind: str, chance: random.Random) -> list[TrialRecord]:
    """Go on with a search and kill it; what it said of the trials that had ended by then."""
    if kind in LONGEST:
        driver = Driver(run, trials=MANY, longest=LONGEST[kind](chance, len(journal(run))))
    else:
        driver = Driver(run, trials=MANY)
        driver.kill(chance.uniform(0, LATEST))
    code, told = driver.end()
    assert code == -(signal.SIGXFSZ if kind in LONGEST else signal.SIGKILL)
    return told


def journal(run: Path) -> bytes:
    return (run / JOURNAL).read_bytes() if (run / JOURNAL).exists() else b""


def ended(run: Path) -> dict[int, TrialRecord]:
    return {record.number: record for record in records(run) if record.outcome != RUNNING}


def finish(run: Path, trials: int) -> list[dict[str, object]]:
    """The records of a search that nothing happens to any more."""
    assert Driver(run, trials=trials).end()[0] == 0
    return [timeless(record) for record in records(run)]


def test_twenty_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, chance = tmp_path / "run", random.Random(SEED)
    known: dict[int, TrialRecord] = {}
    cut_off = 0
    for number in range(STRIKES):
        kind = KINDS[number % len(KINDS)]
        which = f"strike {number} of seed {SEED}, {kind}"
        told = {record.number: record for record in strike(run, kind, chance)}
        assert not told.keys() & known.keys(), f"trained twice: {which}"
        known |= told
        there = ended(run)
        assert {n: there.get(n) for n in known} == known, f"lost or changed: {which}"
        known = there
        cut_off += journal(run)[-1:] not in (b"", b"\n")
        if journal(run):
            assert visit(DoctorRequest(run=str(run))) == 0, f"damaged: {which}\n{capsys.readouterr().out}"
    assert cut_off > 1, "no kill came in the middle of an entry"
    trials = sum(record.outcome in TRAINED for record in known.values()) + 1
    assert finish(run, trials) == finish(tmp_path / "unbroken", trials)
    assert {number: ended(run)[number] for number in known} == known
    assert not [path for path in run.rglob("*") if path.suffix in (".part", ".lock")]
