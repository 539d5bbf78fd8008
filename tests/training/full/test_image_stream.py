from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.full.reading import Counting, Numbers
from training.full import image_stream
from training.full.image_stream import Stream, worker_count

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=[0, 2])
def workers(request: pytest.FixtureRequest) -> Iterator[int]:
    yield request.param
    gc.collect()
    assert multiprocessing.active_children() == []


def read(stream: Stream, run: int, step: int) -> tuple[int, list[int]]:
    batch = stream.batch(run, step)
    assert len(batch.problems) == 2
    return int(batch.images_NCHW[0, 0, 0, 0]), batch.labels.tolist()


def test_batches_come_in_any_order(workers: int) -> None:
    stream = Stream(Numbers(), Counting(), workers=workers, pinned=False)
    for run, step in [(1, 0), (1, 1), (1, 4), (2, 0), (2, 0), (1, 3), (3, 4), (4, 0), (4, 4), (5, 0), (1, 0)]:
        assert read(stream, run, step) == (run, [2 * step, 2 * step + 1])


def test_runs_in_their_order_are_read_without_a_break(workers: int) -> None:
    order = Counting()
    stream = Stream(Numbers(), order, workers=workers, pinned=False)
    for run, step in [(1, 3), (1, 4), *((run, step) for run in (2, 3) for step in range(5))]:
        read(stream, run, step)
    assert order.begun == [(1, 3)]
    read(stream, 4, 0)
    read(stream, 4, 2)
    assert order.begun == [(1, 3), (4, 0), (4, 2)]


def test_the_global_random_numbers_are_left_alone(workers: int) -> None:
    before = torch.get_rng_state()
    stream = Stream(Numbers(), Counting(), workers=workers, pinned=False)
    for step in (0, 1, 0):
        read(stream, 1, step)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("closed", [True, False])
def test_workers_stay_until_the_stream_is_closed_or_forgotten(closed: bool) -> None:
    stream = Stream(Numbers(), Counting(), workers=2, pinned=False)
    pids = {problem for step in (0, 1, 2, 0, 1) for problem in stream.batch(1, step).problems}
    assert len(pids) == len(multiprocessing.active_children()) == 2
    gc.disable()
    try:
        if closed:
            stream.close()
            stream.close()
        else:
            del stream
        assert multiprocessing.active_children() == []
    finally:
        gc.enable()


def test_workers_are_not_forked_from_this_process() -> None:
    stream = Stream(Numbers(), Counting(), workers=1, pinned=False)
    process, parent = map(int, stream.batch(1, 0).problems[0].split())
    assert os.getpid() not in (process, parent)
    stream.close()


def test_workers_leave_an_interrupt_to_the_process_that_reads() -> None:
    stream = Stream(Numbers(), Counting(), workers=2, pinned=False)
    for step in range(4):  # both have begun
        stream.batch(1, step)
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
    for run in (1, 2, 3):
        assert [read(stream, run, step)[0] for step in range(5)] == [run] * 5
    stream.close()


def test_they_are_spawned_where_there_is_no_fork_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_stream._context().get_start_method() == "forkserver"
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert image_stream._context().get_start_method() == "spawn"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_process(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.training.full.reading"]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    ) as reader:
        assert reader.stdout is not None
        workers = [int(pid) for pid in reader.stdout.readline().split()]
        assert len(workers) == 2
        if how == signal.SIGINT:  # as the keyboard does
            os.killpg(reader.pid, how)
        else:
            reader.send_signal(how)
        reader.communicate(timeout=60)
    assert reader.returncode == -how
    deadline = time.monotonic() + 20
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.02)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("cores", "world", "here", "workers"),
    [(8, 1, None, 8), (8, 3, None, 2), (8, 16, None, 1), (8, 16, "4", 2), (1, 1, None, 1)],
)
def test_workers_share_the_cores(
    cores: int, world: int, here: str | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if here is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", here)
    assert worker_count(world) == workers
