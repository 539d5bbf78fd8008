"""Which groups every step of one layer reads, and what follows from it. Pure Python: no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from operator import lt

from seqconv import validation


@dataclass(frozen=True)
class Adjacency:
    """The sources of each step of a layer, in the paper's indices.

    The input holds groups 1-G .. 0, oldest first; step i emits group i, for i = 1 .. g, and reads groups before i.

    Raises:
        ValueError: sizes below 1, another number of rows than steps, or a step that reads nothing, one group twice, or
            a group that does not exist or come before it; naming the step.
    """

    in_groups: int
    """G, groups of the input."""
    out_groups: int
    """g, groups of the output: one step each."""
    sources: tuple[tuple[int, ...], ...]
    """For each of the steps 1 .. g the groups it reads, oldest first."""

    def __post_init__(self) -> None:
        validation.integer("in_groups", self.in_groups)
        validation.integer("out_groups", self.out_groups)
        object.__setattr__(self, "sources", tuple(tuple(row) for row in self.sources))
        if len(self.sources) != self.out_groups:
            raise ValueError(f"sources needs one row for each of {self.out_groups} steps, got {len(self.sources)}")
        for step, row in enumerate(self.sources, start=1):
            check_sources(step, row, oldest=1 - self.in_groups)

    @property
    def pairs(self) -> int:
        """N, the number of (step, source) pairs: a layer's weights grow as k^2 N."""
        return sum(map(len, self.sources))

    @cached_property
    def unread(self) -> tuple[int, ...]:
        """Input groups that no step reads, oldest first."""
        return tuple(sorted(set(range(1 - self.in_groups, 1)).difference(*self.sources)))

    @cached_property
    def serial_depth(self) -> int:
        """Steps on the longest chain in which each reads the one before it."""
        depths = [0] * (self.out_groups + 1)
        for step, row in enumerate(self.sources, start=1):
            depths[step] = 1 + max(depths[max(source, 0)] for source in row)
        return max(depths)

    @cached_property
    def reads_whole_input(self) -> bool:
        """Whether every step reads every input group: then the input need not split into whole groups."""
        oldest = 1 - self.in_groups
        return all(row[: self.in_groups] == tuple(range(oldest, 1)) for row in self.sources)

    def matrix(self) -> tuple[tuple[bool, ...], ...]:
        """One row a step, one column a group: the oldest input first, the last output last."""
        everything = range(1 - self.in_groups, self.out_groups + 1)
        return tuple(tuple(map(frozenset(row).__contains__, everything)) for row in self.sources)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that two adjacencies share exactly if they are equal."""
        plain = json.dumps([self.in_groups, self.out_groups, self.sources], separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()[:16]


def check_sources(step: int, row: tuple[int, ...], *, oldest: int | None = None) -> None:
    """Refuse a row that is not one or more different groups before `step`, in ascending order.

    Args:
        step: the step that reads them, 1-based.
        row: the groups it reads.
        oldest: 1 - G, the oldest input group; None while the input's size is not known.

    Raises:
        ValueError: naming the step, the source and the groups it may read.
    """
    if not row:
        raise ValueError(f"step {step} reads nothing: it needs at least one group before it")
    allowed = f"groups up to {step - 1}" if oldest is None else f"groups from {oldest} to {step - 1}"
    for source in row:
        if type(source) is not int or source >= step or (oldest is not None and source < oldest):
            raise ValueError(f"step {step} must read {allowed}, got {source!r}")
    if not all(map(lt, row, row[1:])):
        raise ValueError(f"step {step} must read different groups in ascending order, got {list(row)}")
