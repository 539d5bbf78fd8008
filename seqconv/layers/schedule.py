"""The order in which a blocked plan computes a layer's steps: a blocked triangular solve. Pure Python: no torch.

Step by step, a layer of g groups is g narrow convolutions. But what steps read of groups that are already known can be
computed for many of them at once: the steps are cut into panels; one wide convolution gives all steps of a panel what
they read from before the panel; what remains inside is halved again and again, so that each convolution is about as
wide as it is deep. A step is finished (norm, activation) as soon as all that it reads has been added up.

A layer's groups are columns here: 0 .. G-1 the input, oldest first, and G+i-1 the output of step i. Steps count from 0.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from seqconv import validation
from seqconv.adjacency import Adjacency

Run = tuple[int, int]
"""Columns from the first up to, not including, the second."""

PANELS = (1, 2, 4, 8, 16, 32)
"""Panel sizes that the cost rule chooses among."""
LANES = 16
"""Channels up to which a convolution costs as if it had this many: the floats in a vector register of 512 bits."""
TRAFFIC = 100
"""Multiply-adds for each pixel that cost as much as one channel's way to a convolution and back: copies and sums."""


@dataclass(frozen=True)
class Block:
    """One convolution: what the steps in `steps` read of the columns in `sources`; zero weights where one does not."""

    steps: Run
    sources: tuple[Run, ...]
    """In ascending order. A run never mixes inputs and outputs."""

    @property
    def columns(self) -> list[int]:
        """The columns one by one."""
        return [column for start, stop in self.sources for column in range(start, stop)]


@dataclass(frozen=True)
class Panel:
    """Steps that one wide convolution serves.

    `program` says what happens after it, in order: a Block adds to what its steps have read so far, a number finishes
    that step.
    """

    steps: Run
    wide: Block
    program: tuple[Block | int, ...]


@functools.lru_cache(maxsize=4096)
def schedule(adjacency: Adjacency, panel: int) -> tuple[Panel, ...]:
    """The panels of a layer, of `panel` steps each; the last may have fewer.

    Raises:
        ValueError: panel below 1.
    """
    validation.integer("panel", panel)
    rows = _columns(adjacency)
    starts = range(0, len(rows), panel)
    return tuple(_panel(rows, adjacency.in_groups, start, min(start + panel, len(rows))) for start in starts)


@functools.lru_cache(maxsize=4096)
def cheapest_panel(adjacency: Adjacency, group_width: int, taps: int) -> int:
    """The panel size whose convolutions cost least by a simple rule.

    For each pixel a convolution of c_in to c_out channels with `taps` weights (9 for 3x3) costs taps * c_in * c_out,
    where channels below `LANES` count as `LANES`, and `TRAFFIC` * (c_in + c_out) for what is copied and added around
    it. Wide panels convolve zeros on the diagonal, narrow ones copy their sources more often. A layer whose steps read
    no output is one panel.
    """
    if adjacency.serial_depth == 1:
        return adjacency.out_groups
    sizes = [size for size in PANELS if size < 2 * adjacency.out_groups]
    return min(sizes, key=lambda size: _cost(schedule(adjacency, size), group_width, taps))


def _cost(panels: tuple[Panel, ...], group_width: int, taps: int) -> int:
    blocks = [block for panel in panels for block in (panel.wide, *panel.program) if isinstance(block, Block)]
    return sum(_convolution_cost(block, group_width, taps) for block in blocks)


def _convolution_cost(block: Block, group_width: int, taps: int) -> int:
    c_in = group_width * len(block.columns)
    c_out = group_width * (block.steps[1] - block.steps[0])
    return taps * max(c_in, LANES) * max(c_out, LANES) + TRAFFIC * (c_in + c_out)


def _columns(adjacency: Adjacency) -> tuple[frozenset[int], ...]:
    return tuple(frozenset(source + adjacency.in_groups - 1 for source in row) for row in adjacency.sources)


def _panel(rows: tuple[frozenset[int], ...], in_groups: int, start: int, stop: int) -> Panel:
    wide = Block((start, stop), _runs(rows[start:stop], 0, in_groups + start, in_groups))
    return Panel((start, stop), wide, tuple(_program(rows, in_groups, start, stop)))


def _program(rows: tuple[frozenset[int], ...], in_groups: int, start: int, stop: int) -> Iterator[Block | int]:
    if stop - start == 1:
        yield start
        return
    middle = start + (1 << (stop - start - 1).bit_length() - 1)
    yield from _program(rows, in_groups, start, middle)
    first, last = in_groups + start, in_groups + middle
    sources = _runs(rows[middle:stop], first, last, in_groups)
    if sources:
        yield Block((middle, stop), sources)
    yield from _program(rows, in_groups, middle, stop)


def _runs(rows: Iterable[frozenset[int]], first: int, last: int, in_groups: int) -> tuple[Run, ...]:
    """The columns in [first, last) that any of the rows holds, as runs."""
    read = sorted(column for column in frozenset().union(*rows) if first <= column < last)
    runs: list[Run] = []
    for column in read:
        if runs and runs[-1][1] == column and column != in_groups:
            runs[-1] = (runs[-1][0], column + 1)
        else:
            runs.append((column, column + 1))
    return tuple(runs)
