"""How the kernels of a layer's steps lie side by side in one parameter, and how blocks and narrower layers read them.

A step's kernel has the shape (k, C_u, kh, kw), C_u the channels of its sources. The kernels are concatenated along C_u,
step by step, sources oldest first: (k, R, kh, kw) with R = sum of the C_u. No weight is stored that no step uses,
whatever the pattern, so the weights of a narrower window are some columns of those of a wider one.
"""

from __future__ import annotations

import functools
from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from seqconv.adjacency import Adjacency
from seqconv.layers.schedule import Block, Run


@dataclass(frozen=True)
class Layout:
    """Which channels of the input, of the output and of the packed kernels belong to which groups."""

    adjacency: Adjacency
    in_channels: int
    """C_in; the oldest group is narrower than k where it does not split into whole groups."""
    group_width: int
    """k, channels of every other group."""
    known: dict[Block, tuple[Piece, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What `pieces` found for each block."""

    @property
    def out_channels(self) -> int:
        """C_out."""
        return self.adjacency.out_groups * self.group_width

    @property
    def packed(self) -> int:
        """R, the length of the packed dimension."""
        return int(self.steps[-1].stop)

    @functools.cached_property
    def steps(self) -> tuple[slice, ...]:
        """For each step its kernel along the packed dimension."""
        slices, start = [], 0
        for row in self.adjacency.sources:
            stop = start + sum(self.width(self.column(source)) for source in row)
            slices.append(slice(start, stop))
            start = stop
        return tuple(slices)

    @functools.cached_property
    def reads(self) -> array[int]:
        """Four numbers for each source of a step: step, first channel in [input, output], channels, packed column."""
        numbers = array("q")
        for step, row in enumerate(self.adjacency.sources):
            place = self.steps[step].start
            for column in map(self.column, row):
                numbers.extend((step, self.channels(column).start, self.width(column), place))
                place += self.width(column)
        return numbers

    def column(self, group: int) -> int:
        """The column of a group in the paper's indices: 0 is the oldest input, as in `seqconv.layers.schedule`."""
        return group + self.adjacency.in_groups - 1

    def channels(self, first: int, last: int | None = None) -> slice:
        """Channels in [input, output] of a column, or of the columns from `first` to `last`."""
        oldest, k = self.in_channels - (self.adjacency.in_groups - 1) * self.group_width, self.group_width
        start = 0 if first == 0 else oldest + (first - 1) * k
        return slice(start, oldest + (first if last is None else last) * k)

    def outputs(self, steps: Run) -> slice:
        """Channels in the output of some steps, or where they stand in a panel that starts at step 0."""
        return slice(steps[0] * self.group_width, steps[1] * self.group_width)

    def width(self, column: int) -> int:
        """Channels of a column."""
        channels = self.channels(column)
        return int(channels.stop - channels.start)


class Piece(NamedTuple):
    """Some weights of a block that are packed side by side too."""

    rows: slice
    """Output channels in the block."""
    columns: slice
    """Source channels in the block."""
    packed: slice
    """Columns among the packed kernels."""


def pieces(layout: Layout, block: Block) -> tuple[Piece, ...]:
    """Where the weights of a block are packed. Remembered with the layout, whose hash would cost more than a lookup."""
    if block not in layout.known:
        layout.known[block] = tuple(_pieces(layout, block))
    return layout.known[block]


def _pieces(layout: Layout, block: Block) -> list[Piece]:
    places, place = {}, 0
    for column in block.columns:
        places[column] = place
        place += layout.width(column)
    found: list[Piece] = []
    for row, step in enumerate(range(*block.steps)):
        rows, packed = slice(row * layout.group_width, (row + 1) * layout.group_width), layout.steps[step].start
        for column in map(layout.column, layout.adjacency.sources[step]):
            width = layout.width(column)
            if column in places:
                piece = Piece(rows, slice(places[column], places[column] + width), slice(packed, packed + width))
                found[-1:] = _joined(found[-1:], piece)
            packed += width
    return found


def _joined(last: list[Piece], piece: Piece) -> list[Piece]:
    """One piece instead of two that lie side by side in the block and in the pack."""
    if not last:
        return [piece]
    rows, columns, packed = last[0]
    if (rows, columns.stop, packed.stop) != (piece.rows, piece.columns.start, piece.packed.start):
        return [*last, piece]
    return [Piece(rows, slice(columns.start, piece.columns.stop), slice(packed.start, piece.packed.stop))]


def unpack(packed: Tensor, layout: Layout, block: Block, memory_format: torch.memory_format) -> Tensor:
    """The block's weight (steps * k, C_sources, kh, kw); zero where a step does not read a source."""
    channels = sum(map(layout.width, block.columns))
    steps = block.steps[1] - block.steps[0]
    size = (steps * layout.group_width, channels, *packed.shape[2:])
    weight = torch.empty(size, dtype=packed.dtype, device=packed.device, memory_format=memory_format).zero_()
    for piece in pieces(layout, block):
        weight[piece.rows, piece.columns] = packed[:, piece.packed]
    return weight


def pack_into(packed: Tensor, weight: Tensor, layout: Layout, block: Block) -> None:
    """Inverse of `unpack`: write the block's weight, or its gradient, to its places in the pack."""
    for piece in pieces(layout, block):
        packed[:, piece.packed] = weight[piece.rows, piece.columns]


def narrowed(packed: Tensor, wide: Layout, narrow: Layout) -> Tensor:
    """The packed kernels of a layer that reads less, cut out of a wider one's: (k, R, kh, kw) to (k, R', kh, kw).

    Raises:
        ValueError: another size of layer, or a step of `narrow` that reads a group that it does not read in `wide`.
    """
    sizes = [(layout.in_channels, layout.out_channels, layout.group_width) for layout in (wide, narrow)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"both layers must have the same C_in, C_out and group width, got {sizes[0]} and {sizes[1]}")
    columns: list[Tensor] = []
    for step, (sources, wider) in enumerate(
        zip(narrow.adjacency.sources, wide.adjacency.sources, strict=True), start=1
    ):
        missing = sorted(set(sources).difference(wider))
        if missing:
            raise ValueError(f"step {step} reads groups that it does not read in the wider layer: {missing}")
        bounds, start = {}, wide.steps[step - 1].start
        for source in wider:
            bounds[source] = slice(start, start + wide.width(wide.column(source)))
            start = bounds[source].stop
        columns += [packed[:, bounds[source]] for source in sources]
    return torch.cat(columns, dim=1)
