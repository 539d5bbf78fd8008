"""Fuzzes what reads input of others: python -m tests.fuzz.run --inputs 100000 --seed 0 [--target NAME] [--out DIR]."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.fuzz.campaign import Tally, run
from tests.fuzz.targets import TARGETS


def main(arguments: Sequence[str]) -> int:
    """Print a row for each target and the input of each crash; 1 where there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000, help="in all; a target has its share of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=[target.name for target in TARGETS], action="append")
    parser.add_argument("--out", type=Path, help="folder for a table of each target")
    options = parser.parse_args(arguments)
    crashed = 0
    for target in TARGETS:
        if options.target and target.name not in options.target:
            continue
        tally = run(target, max(1, round(options.inputs * target.share)), options.seed)
        print(", ".join(f"{name} {value}" for name, value in tally.row().items()), flush=True)
        crashed += tally.crashed
        _tell(tally)
        if options.out is not None:
            _save(options.out, tally, options.seed)
    return int(crashed > 0)


def _tell(tally: Tally) -> None:
    for where, (trace, *inputs) in tally.crashes.items():
        print(f"{where}, {len(inputs)} times, such as {inputs[0]!r:.2000}\n{trace}", file=sys.stderr)


def _save(folder: Path, tally: Tally, seed: int) -> None:
    """One file for a target, so that several processes may share the work."""
    folder.mkdir(parents=True, exist_ok=True)
    row = tally.row() | {"seed": seed}
    with (folder / f"{tally.target.replace(' ', '_')}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
