"""What a search costs beside its training: trials that do nothing, through the whole path of search.py.

    python benchmarks/scheduling_overhead.py [--trials 60] [--concurrency 2]

Prints seconds per trial once warm (the first trials, which start the workers, are left out), and where they go.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

import command_line
from searchers.run import run_search
from searchers.session import Session
from searchers.study import TrialStore

WARM_UP = 10


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Metrics of an epoch in which nothing was trained."""

    epoch: int
    validation_error: float


def train_nothing(number: int, architecture: Any, **_: Any) -> Iterator[Nothing]:
    """A trial of one epoch that takes no time; its error depends on its architecture alone."""
    yield Nothing(epoch=1, validation_error=int(architecture.fingerprint(), 16) / 16**16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("overrides", nargs="*", help="more KEY=VALUE of search.py")
    options = parser.parse_args()
    spent: dict[str, list[float]] = defaultdict(list)
    for owner, name in ((Session, "propose"), (Session, "on_epoch"), (Session, "on_end"), (TrialStore, "begin")):
        setattr(owner, name, timed(getattr(owner, name), spent[f"{owner.__name__}.{name}"]))
    ends: list[float] = []
    on_end = Session.on_end
    Session.on_end = lambda self, *a, **k: (on_end(self, *a, **k), ends.append(time.perf_counter()))[0]  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            "dataset=digits", "trial.epochs=1", "scheduler=none", f"trials={options.trials}",
            f"concurrency={options.concurrency}", f"run={folder}/run", *options.overrides,
        ]  # fmt: skip
        with initialize_config_dir(str(command_line.CONF), version_base="1.3"):
            config = command_line.instantiate(compose("search", overrides), plain=True)
        began = time.perf_counter()
        code = run_search(config, train_trial=train_nothing)
        whole = time.perf_counter() - began
        journal = (Path(folder) / "run" / "study.journal").stat().st_size
    if code or len(ends) <= WARM_UP:
        sys.exit(f"needs more than {WARM_UP} trials, and an end without failure: {len(ends)} trials, exit code {code}")
    warm = len(ends) - WARM_UP
    per_trial = (ends[-1] - ends[WARM_UP - 1]) / warm
    print(f"\n{len(ends)} trials, {options.concurrency} at a time on {os.cpu_count()} cores: {whole:.1f} s in all")
    print(f"per trial once warm: {per_trial * 1000:.0f} ms ({1 / per_trial:.1f} trials/s)")
    driver = sum(sum(spent[name][-warm:]) / warm for name in ("Session.propose", "Session.on_epoch", "Session.on_end"))
    for name, times in spent.items():
        print(f"  {name:<17} {1000 * sum(times) / len(ends):6.1f} ms per trial over all, {len(times)} calls")
    print(f"  {'Ray and the rest':<17} {1000 * (per_trial - driver):6.1f} ms per trial once warm")
    print(
        f"before the first trial ended: {ends[0] - began:.1f} s; journal {journal / len(ends) / 1024:.1f} KiB per trial"
    )


def timed(function: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    """The function, with the seconds of each call kept."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            times.append(time.perf_counter() - began)

    return wrapper


if __name__ == "__main__":
    main()
