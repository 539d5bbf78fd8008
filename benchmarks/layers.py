"""Time and memory of SeqConv layers as ratios against parallel convolutions, measured side by side.

    python benchmarks/layers.py [--device cpu|cuda] [--cases plain,bottleneck,...] [--panels 2,4,8] [--out FOLDER]

Prints a table, and writes a CSV and a plot that are named after the machine. README.md says how to read them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch
from comparison import DTYPES, Options, Row
from layer_cases import bottleneck, memory, plain, windows
from layer_report import table, write
from network_cases import imagenet, network
from plot_layers import plot
from timing import this_machine

CASES = {
    "plain": plain,
    "bottleneck": bottleneck,
    "windows": windows,
    "memory": memory,
    "network": network,
    "imagenet": imagenet,
}
DEFAULT_CASES = {"cpu": [*CASES][:-1], "cuda": [*CASES]}
DEFAULT_DTYPE = {"cpu": "float32", "cuda": "bfloat16"}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = _parsed(arguments)
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    try:
        machine = this_machine(given.device, given.dtype)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print("\n".join(f"{name}: {value}" for name, value in asdict(machine).items()))
    options = Options(**{field.name: getattr(given, field.name) for field in fields(Options)})
    some = [] if given.cases == DEFAULT_CASES[given.device] else ["-".join(given.cases)]
    words = [machine.name, *some, *(["quick"] if given.quick else [])]
    path = given.out / f"{'_'.join(words)}.csv"
    rows: list[Row] = []
    for case in given.cases:
        for group in CASES[case](options):
            print(table(group), flush=True)
            rows += group
            write(path, machine, rows)
    print(f"\n{path}\n{plot(path)}")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    results = Path(__file__).with_name("results")
    parser.add_argument("--device", choices=DEFAULT_CASES, default="cpu")
    parser.add_argument("--threads", type=_positive, default=1, help="of torch on the CPU (default: 1)")
    parser.add_argument("--repeats", type=_positive, default=11, help="rounds that count (default: 11)")
    parser.add_argument("--cases", type=_cases, help=f"some of {','.join(CASES)} (default on a CPU: all but the last)")
    parser.add_argument("--panels", type=_numbers, default=(), help="panel sizes to measure beside the chosen one")
    parser.add_argument("--dtype", choices=DTYPES, help="default: float32 on a CPU, bfloat16 on a GPU")
    parser.add_argument("--out", type=Path, default=results, help="folder for CSV and plot (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs; its times mean nothing")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU here")
    given.cases = given.cases or DEFAULT_CASES[given.device]
    given.dtype = given.dtype or DEFAULT_DTYPE[given.device]
    return given


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer at least 1, got {text!r}")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_positive(number) for number in text.split(","))


def _cases(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in CASES:
            raise argparse.ArgumentTypeError(f"must be one or more of {','.join(CASES)}, got {name!r}")
    return names


if __name__ == "__main__":
    main()
