"""Aggregation patterns: each maps the sizes (G, g) of a layer to the groups that its steps read. Pure Python: no torch.

Group indices follow the paper: the input holds groups 1-G .. 0 (oldest first), the layer emits groups 1 .. g one after
the other, and step i may read any group before i. Users import the patterns from `seqconv.aggregation`.
"""

from __future__ import annotations

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import lru_cache
from typing import ClassVar

from seqconv import validation
from seqconv.adjacency import Adjacency, check_sources

Plain = int | str | list[list[int]]
"""What a pattern is in YAML."""

WINDOW = re.compile(r"(?P<groups>[0-9]{1,9})|(?P<ratio>[0-9]*\.?[0-9]+)G|dense")
"""How a window is written."""


class Pattern(ABC):
    """Which groups before it a step of a layer reads, whatever the layer's size."""

    name: ClassVar[str]
    """How YAML calls it; its fields follow in brackets."""

    @abstractmethod
    def sources(self, step: int, in_groups: int, out_groups: int) -> Iterable[int]:
        """Groups that `step` (1-based) of a layer with G = `in_groups` and g = `out_groups` reads, oldest first."""

    def adjacency(self, in_groups: int, out_groups: int) -> Adjacency:
        """The sources of every step of a layer with G = `in_groups` and g = `out_groups`.

        Raises:
            ValueError: sizes below 1, or sizes for which this pattern is not defined, naming it.
        """
        validation.integer("in_groups", in_groups)
        validation.integer("out_groups", out_groups)
        return _adjacency(self, in_groups, out_groups)

    def to_plain(self) -> Plain:
        """The value that `parse_pattern` reads back."""
        values = ", ".join(str(getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        return f"{self.name}({values})" if values else self.name

    def __str__(self) -> str:
        return str(self.to_plain())


# Bounded: the sources of one layer of 128 steps take up to 200 kB.
@lru_cache(maxsize=256)
def _adjacency(pattern: Pattern, in_groups: int, out_groups: int) -> Adjacency:
    try:
        rows = tuple(tuple(pattern.sources(i, in_groups, out_groups)) for i in range(1, out_groups + 1))
        return Adjacency(in_groups, out_groups, rows)
    except ValueError as error:
        raise ValueError(f"{pattern} with G = {in_groups} and g = {out_groups}: {error}") from None


@dataclass(frozen=True)
class Window(Pattern):
    """The aggregation window g': step i reads the groups i-g' .. i-1, clipped at the oldest input (Eq. 3).

    Written as a number of groups (`4`), as a ratio of the layer's input groups G (`0.5G`, `1G` is a regular
    convolution's cost) or as `dense` (everything before it, Eq. 2). Exactly one field is set, or none for dense.

    Raises:
        ValueError: groups below 1, a ratio that is not above 0 or beyond a million, or both given.
    """

    name: ClassVar[str] = "dense"

    groups: int | None = None
    """Width in groups."""
    ratio: float | None = None
    """Width as a multiple of the layer's input groups G."""

    def __post_init__(self) -> None:
        if self.groups is not None and self.ratio is not None:
            raise ValueError(f"window takes groups or a ratio, got both: {self.groups} and {self.ratio}")
        if self.groups is not None:
            validation.integer("window in groups", self.groups)
        if self.ratio is not None:
            ratio = validation.number("window ratio", self.ratio, low=0, high=1e6, open_low=True)
            object.__setattr__(self, "ratio", ratio)

    @classmethod
    def parse(cls, value: object) -> Window:
        """Read `4`, `"4"`, `"0.5G"` or `"dense"`; a Window passes through.

        Raises:
            ValueError: anything else, with the forms that are allowed.
        """
        if isinstance(value, Window):
            return value
        match = None if isinstance(value, (bool, float)) else WINDOW.fullmatch(str(value))
        if match is None:
            raise ValueError(
                f"window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, or dense; "
                f"got {value!r}"
            )
        if match["groups"]:
            return cls(groups=int(match["groups"]))
        return cls(ratio=float(match["ratio"])) if match["ratio"] else DENSE

    def to_plain(self) -> int | str:
        """The value that `parse` reads back."""
        if self.groups is not None:
            return self.groups
        return self.name if self.ratio is None else f"{Decimal(repr(self.ratio)):f}G"

    def resolve(self, in_groups: int) -> int | None:
        """The width in groups for a layer with G = `in_groups`, at least 1 (ratios round half up); None is dense."""
        if self.ratio is not None:
            return max(1, math.floor(self.ratio * in_groups + 0.5))
        return self.groups

    def sources(self, step: int, in_groups: int, out_groups: int) -> range:
        width = self.resolve(in_groups)
        oldest = 1 - in_groups
        return range(oldest if width is None else max(oldest, step - width), step)


DENSE = Window()
"""Every earlier group, Eq. 2."""


@dataclass(frozen=True)
class Dilated(Pattern):
    """Step i reads the groups i-d, i-2d, ..., as many as the window says, clipped at the oldest input.

    Raises:
        ValueError: a dilation below 1, or a window that `Window.parse` refuses.
    """

    name: ClassVar[str] = "dilated"

    window: Window
    """How many groups a step reads."""
    dilation: int
    """d, groups from one source to the next; a layer needs at least as many input groups."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", Window.parse(self.window))
        validation.integer("dilation", self.dilation)

    def sources(self, step: int, in_groups: int, out_groups: int) -> Iterable[int]:
        width = self.window.resolve(in_groups)
        return reversed(range(step - self.dilation, -in_groups, -self.dilation)[:width])


@dataclass(frozen=True)
class Log(Pattern):
    """Step i reads the groups i-1, i-2, i-4, i-8, ... as far as they exist (Log-DenseNet, arXiv 1711.00002).

    Every input group counts as an earlier layer of its own.
    """

    name: ClassVar[str] = "log"

    def sources(self, step: int, in_groups: int, out_groups: int) -> Iterable[int]:
        farthest = step - 1 + in_groups
        return (step - (1 << n) for n in reversed(range(farthest.bit_length())))


@dataclass(frozen=True)
class Harmonic(Pattern):
    """Step i reads group i-2^n for every 2^n that divides i (HarDNet, arXiv 1909.00948).

    HarDNet's layer 0 is the whole input of its block. It is so here too: the steps 1, 2, 4, 8, ..., which are those
    with a link to 0, read every input group, and no other step reads one.
    """

    name: ClassVar[str] = "harmonic"

    def sources(self, step: int, in_groups: int, out_groups: int) -> Iterable[int]:
        lowest_bit = step & -step
        links = (step - (1 << n) for n in reversed(range(lowest_bit.bit_length())))
        return (*range(1 - in_groups, 0), *links) if lowest_bit == step else links


@dataclass(frozen=True)
class Regular(Pattern):
    """Every step reads the whole input and no output: a regular convolution."""

    name: ClassVar[str] = "regular"

    def sources(self, step: int, in_groups: int, out_groups: int) -> range:
        return range(1 - in_groups, 1)


@dataclass(frozen=True)
class Group(Pattern):
    """Step i reads the input groups aligned with it and no output: a grouped convolution.

    With G = g that is group i-G. Otherwise input and output are laid over each other in equal lengths, and step i reads
    each input group j (from 0, the oldest) whose interval [j/G, (j+1)/G) overlaps its own, [(i-1)/g, i/g).
    """

    name: ClassVar[str] = "group"

    def sources(self, step: int, in_groups: int, out_groups: int) -> Iterable[int]:
        return (place + 1 - in_groups for place in _aligned(step, in_groups, out_groups))


@dataclass(frozen=True)
class Split(Pattern):
    """Step i reads the input groups aligned with it, as in `Group`, and the step before it (Res2Net, arXiv 1904.01169).

    Res2Net convolves the sum x_i + y_(i-1), which is the special case in which both sources have the same kernel. It
    passes its first split on unchanged and to no other step; here step 1 is a convolution and step 2 reads it.
    """

    name: ClassVar[str] = "split"

    def sources(self, step: int, in_groups: int, out_groups: int) -> Iterable[int]:
        aligned = Group().sources(step, in_groups, out_groups)
        return (*aligned, step - 1) if step > 1 else aligned


@dataclass(frozen=True)
class Shuffle(Pattern):
    """`Group` after a channel shuffle of the input groups (ShuffleNet, arXiv 1707.01083; IGC, arXiv 1707.02725).

    The input groups lie in L partitions of G/L; the shuffle takes the first group of each partition, then the second
    of each, and so on. L = 1 and L = G change nothing.

    Raises:
        ValueError: partitions below 1.
    """

    name: ClassVar[str] = "shuffle"

    partitions: int
    """L, must divide the input groups G of every layer."""

    def __post_init__(self) -> None:
        validation.integer("partitions", self.partitions)

    def sources(self, step: int, in_groups: int, out_groups: int) -> Iterable[int]:
        if in_groups % self.partitions:
            raise ValueError(f"partitions must divide the {in_groups} input groups, got {self.partitions}")
        size = in_groups // self.partitions
        places = _aligned(step, in_groups, out_groups)
        return sorted(p % self.partitions * size + p // self.partitions + 1 - in_groups for p in places)


@dataclass(frozen=True)
class Random(Pattern):
    """Step i reads group i-1 always, so that none reads nothing, and every group before that with probability p.

    Whether a step reads a group depends on the seed, the step and the group alone, by a hash that is the same on every
    platform: a layer with more groups, or a larger p, reads what the smaller one reads and more.

    Raises:
        ValueError: a seed below 0, or p outside [0, 1].
    """

    name: ClassVar[str] = "random"

    seed: int
    """Which draw."""
    p: float
    """Probability that a step reads a group."""

    def __post_init__(self) -> None:
        validation.integer("seed", self.seed, low=0)
        object.__setattr__(self, "p", validation.number("p", self.p, low=0, high=1))

    def sources(self, step: int, in_groups: int, out_groups: int) -> Iterable[int]:
        farther = range(2, step + in_groups)
        # The first bytes of this hash do not depend on how many are asked for, so a larger layer keeps the draws.
        draws = hashlib.shake_128(f"{self.seed} {step}".encode()).digest(8 * len(farther))
        kept = [o for n, o in enumerate(farther) if int.from_bytes(draws[8 * n : 8 * n + 8]) < self.p * 2.0**64]
        return (step - offset for offset in (*reversed(kept), 1))

    def to_plain(self) -> str:
        """The value that `parse_pattern` reads back."""
        return f"{self.name}(seed={self.seed}, p={Decimal(repr(self.p)):f})"


@dataclass(frozen=True)
class Explicit(Pattern):
    """Each step's sources by hand: in YAML a list of lists, such as `[[0], [-1, 0, 1]]`.

    A layer with fewer steps than rows uses the first ones, so that the layers of one stage may differ in g.

    Raises:
        ValueError: no row, or a row that is empty, holds a group twice or one that does not come before its step.
    """

    name: ClassVar[str] = "explicit"

    rows: tuple[tuple[int, ...], ...]
    """Groups that the steps 1, 2, ... read; kept in ascending order."""

    def __post_init__(self) -> None:
        if not _nested(self.rows) or not self.rows:
            raise ValueError(f"explicit sources must be a list with a list of groups for each step, got {self.rows!r}")
        if not all(type(source) is int for row in self.rows for source in row):
            raise ValueError(f"explicit sources must be integers, got {self.rows!r}")
        object.__setattr__(self, "rows", tuple(tuple(sorted(row)) for row in self.rows))
        for step, row in enumerate(self.rows, start=1):
            check_sources(step, row)

    def sources(self, step: int, in_groups: int, out_groups: int) -> tuple[int, ...]:
        if out_groups > len(self.rows):
            raise ValueError(f"it needs a row for each of {out_groups} steps, got {len(self.rows)}")
        return self.rows[step - 1]

    def to_plain(self) -> list[list[int]]:
        """The value that `parse_pattern` reads back."""
        return [list(row) for row in self.rows]

    def __str__(self) -> str:
        return f"{self.name}(steps={len(self.rows)}, pairs={sum(map(len, self.rows))})"


def _aligned(step: int, in_groups: int, out_groups: int) -> range:
    """Places of the input groups, counted from 0 at the oldest, that overlap `step`'s share of the output."""
    return range((step - 1) * in_groups // out_groups, -(-step * in_groups // out_groups))


def _nested(rows: object) -> bool:
    return isinstance(rows, Sequence) and all(isinstance(row, (list, tuple)) for row in rows)
