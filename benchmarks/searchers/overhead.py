"""What a proposal costs when a search has got long, and what a searcher keeps in memory; nothing is trained.

    python benchmarks/searchers/overhead.py --contenders random tpe optuna_tpe

A history of made-up results of the space `windowed` grows; at each size some proposals are made and recorded. Every
contender has an interpreter of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import statistics
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contenders
import numpy as np
from hydra import compose, initialize_config_dir
from summary import write

import command_line
from search_spaces.knobs import Value
from search_spaces.space import SearchSpace, sample
from searchers.history import History
from searchers.record import COMPLETED, PRUNED, TrialRecord
from searchers.searcher import Problem

SIZES = (100, 1_000, 10_000)
EPOCHS = 9
PATIENCE = 20.0
"""Seconds of proposals after which no more are made at a size; who takes them for one is not tried at larger sizes."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A contender at a size. README.md explains the columns."""

    contender: str
    trials: int
    first_ms: float
    median_ms: float
    highest_ms: float
    processor_ms: float
    record_ms: float
    kept_mib: float
    proposals: int


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contenders", nargs="+", required=True, metavar="SEARCHER[:KEY=VALUE,...]")
    parser.add_argument("--sizes", type=numbers, default=SIZES, help="trials in the history (default: 100,1000,10000)")
    parser.add_argument("--proposals", type=int, default=20, help="to measure at each size (default: %(default)s)")
    parser.add_argument("--objectives", default="error", help="error, or several such as error,macs")
    parser.add_argument("--out", type=Path, default=Path("experiments/searchers/overhead.csv"), help="file")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    titles = ("first ms", "median ms", "highest", "processor", "record ms", "kept MiB")
    print(f"{'contender':<24} {'trials':>7} " + " ".join(f"{title:>9}" for title in titles))
    try:
        problem = Problem(space=windowed(), objectives=tuple(given.objectives.split(",")), epochs=EPOCHS)
        for contender in given.contenders:
            contenders.propose(contender, problem)
    except ValueError as error:
        sys.exit(f"error: {error}")
    for contender in given.contenders:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            measured = fresh.submit(measure, contender, problem.objectives, given.sizes, given.proposals).result()
        rows += measured
        for row in measured:
            times = (row.first_ms, row.median_ms, row.highest_ms, row.processor_ms, row.record_ms, row.kept_mib)
            cells = " ".join(f"{number:>9.2f}" for number in times)
            print(f"{row.contender:<24} {row.trials:>7,} {cells}", flush=True)
    write(given.out, rows)
    print(given.out)


def measure(contender: str, objectives: Sequence[str], sizes: Sequence[int], proposals: int) -> list[Row]:
    """One contender.

    Args:
        contender: as `contenders` reads it.
        objectives: what is minimised.
        sizes: of the history at which proposals are made, ascending.
        proposals: how many are made at each.
    """
    space = windowed()
    records = made_up(space, max(sizes))
    problem = Problem(space=space, objectives=tuple(objectives), epochs=EPOCHS)
    propose, history, rows = contenders.propose(contender, problem), History(), []
    before = _resident_mib()
    for size in sizes:
        began = time.perf_counter()
        new = records[len(history) : size]
        for record in new:
            history.put(record)
        put = (time.perf_counter() - began) / max(1, len(new))
        spent: list[float] = []
        computed: list[float] = []
        while len(spent) < proposals and sum(spent) < PATIENCE:
            generator = np.random.default_rng([0, len(history)])
            began, computing = time.perf_counter(), time.process_time()
            values = propose(history, generator)
            spent.append(time.perf_counter() - began)
            computed.append(time.process_time() - computing)
            assert values is not None, "the space is far larger"
            history.put(_result(space, values, len(history)))
        ms = [1000 * seconds for seconds in spent]
        rows.append(
            Row(
                contender=contender,
                trials=size,
                first_ms=round(ms[0], 2),
                median_ms=round(statistics.median(ms[1:] or ms), 2),
                highest_ms=round(max(ms[1:] or ms), 2),
                processor_ms=round(1000 * statistics.median(computed[1:] or computed), 2),
                record_ms=round(1000 * put, 4),
                kept_mib=round(_resident_mib() - before, 1),
                proposals=len(ms),
            )
        )
        if len(ms) == 1 < proposals:
            break
    return rows


def made_up(space: SearchSpace, count: int) -> list[TrialRecord]:
    """Results of different architectures; two in three were stopped after the first epoch."""
    rng, seen = random.Random(0), set()
    records: list[TrialRecord] = []
    while len(records) < count:
        record = _result(space, sample(space, rng), len(records))
        if record.fingerprint not in seen:
            seen.add(record.fingerprint)
            records.append(record)
    return records


def _result(space: SearchSpace, values: Mapping[str, Value], number: int) -> TrialRecord:
    architecture: Any = space.decode(values)
    worth = _worth(values)
    epochs = range(1, EPOCHS + 1) if number % 3 == 0 else (1,)
    return TrialRecord(
        number=number,
        outcome=COMPLETED if number % 3 == 0 else PRUNED,
        values=values,
        errors={epoch: error_after(values, epoch) for epoch in epochs},
        facts={
            "fingerprint": architecture.fingerprint(),
            "architecture": architecture.to_dict(),
            "params": int(1e6 * (2 - max(worth))),
            "macs": int(1e8 * (2 - min(worth))),
            "latency": 10 * sum(worth),
        },
    )


def error_after(values: Mapping[str, Value], epoch: int) -> float:
    """Every value of every knob is worth something, so that there is something to learn."""
    worth = _worth(values)
    return 0.2 + 0.5 * sum(worth) / len(worth) + 0.3 / epoch


def _worth(values: Mapping[str, Value]) -> list[float]:
    return [zlib.crc32(f"{name}={value}".encode()) / 2**32 for name, value in values.items()]


def windowed() -> SearchSpace:
    """The space of searches."""
    with initialize_config_dir(str(command_line.CONF), version_base="1.3"):
        space: SearchSpace = command_line.instantiate(compose("search", ["search_space=windowed"]).search_space)
    return space


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def numbers(text: str) -> list[int]:
    """Such as 100,1000, ascending, of an argument."""
    if not all(word.isdecimal() and int(word) > 0 for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"must be numbers above 0 such as 100,1000, got {text!r}")
    return sorted({int(word) for word in text.split(",")})


if __name__ == "__main__":
    main()
