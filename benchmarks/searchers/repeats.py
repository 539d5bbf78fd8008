"""The same search many times with different seeds, over processes if wanted."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import contenders
from nas_bench_201 import STRINGS, nas_bench_201
from parquet_table import parquet_table
from simulator import Setting, simulate
from table import Table
from trajectory import Trajectory

from searchers import objectives
from searchers.history import History
from searchers.searcher import Problem
from seqconv import validation

NAS_BENCH_201 = "nas_bench_201"
CHUNK = 5
"""Repeats that a process does at a time."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which table."""

    table: str = NAS_BENCH_201
    """nas_bench_201, or a Parquet file."""
    data: str = "cifar10"
    """Of NAS-Bench-201."""
    identity: str = STRINGS
    """Of NAS-Bench-201: which cells are one architecture."""


@dataclass(frozen=True, kw_only=True)
class Race:
    """What every contender gets alike.

    Raises:
        ValueError: no repeats, or objectives that there are not.
    """

    place: Place
    """The table."""
    setting: Setting
    """How a search is simulated; the seed is that of the first repeat."""
    repeats: int
    """Searches."""
    objectives: tuple[str, ...] = (objectives.ERROR,)
    """What is minimised."""

    def __post_init__(self) -> None:
        validation.integer("repeats", self.repeats)
        object.__setattr__(self, "objectives", objectives.check(self.objectives))


@functools.cache
def load(place: Place) -> Table:
    """The table.

    Raises:
        ValueError: there is none, with the reason.
    """
    if place.table == NAS_BENCH_201:
        return nas_bench_201(place.data, place.identity)
    if not place.table.endswith(".parquet"):
        raise ValueError(f"table must be {NAS_BENCH_201} or a file FILE.parquet, got {place.table!r}")
    return parquet_table(Path(place.table))


def run(race: Race, competitors: Sequence[str], processes: int = 1) -> Iterator[tuple[str, list[Trajectory]]]:
    """The searches of one contender after the other.

    Raises:
        ValueError: a contender that there is not, or that cannot deal with the problem; before the first search.
    """
    validation.integer("processes", processes)
    problem = _problem(race)
    for contender in competitors:
        contenders.propose(contender, problem)
        contenders.scheduler(contender, problem, History())
    chunks = [range(at, min(at + CHUNK, race.repeats)) for at in range(0, race.repeats, CHUNK)]
    if processes == 1:
        for contender in competitors:
            yield contender, [one for chunk in chunks for one in _searches(race, contender, chunk)]
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = {c: [pool.submit(_searches, race, c, chunk) for chunk in chunks] for c in competitors}
        for contender in competitors:
            yield contender, list(itertools.chain.from_iterable(future.result() for future in futures[contender]))


def _searches(race: Race, contender: str, numbers: range) -> list[Trajectory]:
    table, problem = load(race.place), _problem(race)
    trajectories = []
    for number in numbers:
        history = History()
        trajectories.append(
            simulate(
                table,
                problem,
                contenders.propose(contender, problem),
                replace(race.setting, seed=race.setting.seed + number),
                scheduler=contenders.scheduler(contender, problem, history),
                history=history,
            )
        )
    return trajectories


@functools.cache
def _problem(race: Race) -> Problem:
    """One for all searches of a process, so that what it remembers of the space serves them all."""
    table = load(race.place)
    table.objectives(race.objectives)
    return Problem(space=table.space, objectives=race.objectives, epochs=table.epochs[-1])
