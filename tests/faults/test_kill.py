"""A search that is killed, interrupted or robbed of a worker ends with what an unbroken one ends with."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchers.record import COMPLETED, DUPLICATE, PRUNED, RUNNING, TRAINED, TrialRecord, front
from tests.search_process import Search, metrics_files, printed_command, records, search, timeless, under_way

pytestmark = pytest.mark.slow

TRIALS, EPOCHS = 4, 6
ORDERED = (f"trials={TRIALS}", f"trial.epochs={EPOCHS}", "concurrency=1", "searcher.startup_trials=2", "scheduler=none")
"""What is repeatable: one trial at a time, each to its last epoch."""


class Unbroken:
    """The search that nothing happens to; it runs beside the first test that compares with it."""

    def __init__(self, running: Search, run: Path) -> None:
        self._running, self._run = running, run

    def records(self) -> list[dict[str, object]]:
        self._running.succeed()
        return [timeless(record) for record in records(self._run)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbroken]:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    with search(*ORDERED, f"run={run}") as running:
        yield Unbroken(running, run)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def ended(found: list[TrialRecord]) -> dict[int, TrialRecord]:
    return {record.number: record for record in found if record.outcome != RUNNING}


def assert_kept(run: Path, before: dict[int, TrialRecord], files: dict[int, tuple[int, bytes]]) -> None:
    """No ended trial was run again, lost or changed, and epochs that an open one had done were not repeated."""
    now = records(run)
    assert {number: now[number] for number in before} == before
    for number, (changed, content) in metrics_files(run, now).items():
        if number in before:
            assert (changed, content) == files[number]
        elif number in files:
            assert content.startswith(files[number][1]), number


def wait_for_death(running: Search, seconds: float) -> float:
    """How long the workers outlive the driver."""
    started = time.monotonic()
    while running.workers():
        assert time.monotonic() - started < seconds
        time.sleep(0.1)
    return time.monotonic() - started


def test_a_killed_search_is_resumed_to_the_same_end(run: Path, unbroken: Unbroken) -> None:
    with search(*ORDERED, f"run={run}") as running:
        running.wait(run, under_way(2, epochs=2))
        running.kill()
        wait_for_death(running, seconds=30)
        before, files = records(run), metrics_files(run, records(run))
    assert len(ended(before)) >= 2
    (open_trial,) = (record for record in before if record.outcome == RUNNING)
    assert len(files[open_trial.number][1].splitlines()) > open_trial.epochs >= 2
    with search(*ORDERED, f"run={run}", "resume=true") as resumed:
        stdout = resumed.succeed()
    assert f"run: {run} (going on)" in stdout
    assert_kept(run, ended(before), files)
    assert [timeless(record) for record in records(run)] == unbroken.records()


def test_ctrl_c_leaves_a_search_that_the_printed_command_ends(run: Path, unbroken: Unbroken) -> None:
    with search(*ORDERED, f"run={run}") as running:
        running.wait(run, under_way(1))
        running.signal(signal.SIGINT, group=True)
        code, stdout, stderr = running.end()
        assert (code, stderr) == (130, "")
        assert running.leftovers() == []
    before, files = records(run), metrics_files(run, records(run))
    assert [record.outcome for record in before].count(RUNNING) == 1
    assert len((run / "trials.csv").read_text().splitlines()) == len(before) + 1
    assert (run / "trials.parquet").is_file()
    message, _, command = stdout.splitlines()[-1].partition("; go on with: ")
    assert message == "interrupted with 1 trials open"
    with printed_command(command) as resumed:
        resumed.succeed()
    assert_kept(run, ended(before), files)
    assert [timeless(record) for record in records(run)] == unbroken.records()


def test_sigterm_and_then_kill_with_workers_still_alive(run: Path) -> None:
    """Two trials at a time and a scheduler, resumed at once, while the workers of the killed search still train.

    What is measured before the training is minimised too, and has a limit that nothing breaks.
    """
    settings = ("trials=7", "trial.epochs=4", "concurrency=2", "searcher.startup_trials=3", f"run={run}")
    with search(*settings, "objective=[error,latency]", "limits.latency=60000") as running:
        running.wait(run, under_way(2, epochs=0))
        running.signal(signal.SIGTERM)
        code, stdout, stderr = running.end()
        assert (code, stderr) == (130, "")
    first = ended(records(run))
    command = stdout.splitlines()[-1].partition("; go on with: ")[2]
    with printed_command(command) as resumed:
        resumed.wait(run, under_way(len(first) + 2, epochs=0))  # one may be stopped after its first epoch
        resumed.kill()
        second, files = ended(records(run)), metrics_files(run, list(ended(records(run)).values()))
        with printed_command(command) as again:
            again.succeed()
    assert set(first) < set(second)
    assert_kept(run, first | second, files)
    outcomes = [record.outcome for record in records(run)]
    assert set(outcomes) <= {COMPLETED, PRUNED, DUPLICATE}
    trained = [record for record in records(run) if record.outcome in TRAINED]
    assert len(trained) == 7
    assert all(0 < record.facts["latency"] < 60000 for record in trained)
    best = front(trained, ("error", "latency"))
    assert sorted(path.name for path in (run / "pareto").iterdir()) == sorted(f"{record.number:04d}" for record in best)


def test_a_killed_worker_costs_no_trial(run: Path, unbroken: Unbroken) -> None:
    with search(*ORDERED, f"run={run}") as running:
        running.wait(run, under_way(1, epochs=2))
        before = records(run)
        for pid in running.workers():
            os.kill(pid, signal.SIGKILL)
        files = metrics_files(run, before)
        stdout = running.succeed()
    assert "lost its worker process and starts again from its checkpoint (1 of 2 times)" in stdout
    assert_kept(run, ended(before), files)
    assert [timeless(record) for record in records(run)] == unbroken.records()
