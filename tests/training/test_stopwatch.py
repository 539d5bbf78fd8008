from __future__ import annotations

import time

import pytest

from training.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day, in its only entry."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_every_moment_counts_for_one_part(clock: list[float]) -> None:
    watch = Stopwatch("build", "data", "train")
    for part, seconds in [("data", 1), ("train", 2), ("data", 4), ("data", 8)]:
        watch.switch(part)
        clock[0] += seconds
    assert watch.stop() == {"build": 0, "data": 13, "train": 2}


def test_it_stands_still_before_the_first_switch_and_after_the_stop(clock: list[float]) -> None:
    watch = Stopwatch("data", "train")
    clock[0] += 1
    watch.switch("train")
    clock[0] += 2
    assert watch.stop() == {"data": 0, "train": 2}
    clock[0] += 4
    watch.switch("data")
    clock[0] += 8
    assert watch.stop() == {"data": 8, "train": 0}


def test_the_parts_come_in_their_own_order(clock: list[float]) -> None:
    watch = Stopwatch("data", "train")
    watch.switch("train")
    watch.switch("data")
    assert list(watch.stop()) == ["data", "train"]


def test_an_unknown_part_is_a_mistake_of_the_code(clock: list[float]) -> None:
    watch = Stopwatch("data")
    watch.switch("dta")
    with pytest.raises(KeyError):
        watch.stop()
