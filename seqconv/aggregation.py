"""Which groups a step of a sequentially aggregated convolution reads. Pure Python: no torch.

Group indices follow the paper: the input holds groups 1-G .. 0 (oldest first), the layer emits groups 1 .. g one after
the other, and step i may read any group before i. See Huang et al., "Sequentially Aggregated Convolutional Networks",
ICCV Workshops 2019, Eq. 2 (dense) and Eq. 3 (windowed).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

from seqconv import validation

_WINDOW = re.compile(r"(?P<groups>[0-9]+)|(?P<ratio>[0-9]*\.?[0-9]+)G|dense")


@dataclass(frozen=True)
class Window:
    """The aggregation window g': how many groups before it a step reads.

    Written as a number of groups (`4`), as a ratio of the layer's input groups G (`0.5G`, `1G` is a regular
    convolution's cost) or as `dense` (everything before it, Eq. 2). Exactly one field is set, or none for dense.

    Raises:
        ValueError: groups below 1, a ratio that is not above 0 or beyond a million, or both given.
    """

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
        match = None if isinstance(value, (bool, float)) else _WINDOW.fullmatch(str(value))
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
        return "dense" if self.ratio is None else f"{Decimal(repr(self.ratio)):f}G"

    def resolve(self, in_groups: int) -> int | None:
        """The width in groups for a layer with G = `in_groups`, at least 1 (ratios round half up); None is dense."""
        if self.ratio is not None:
            return max(1, math.floor(self.ratio * in_groups + 0.5))
        return self.groups


DENSE = Window()
"""Every earlier group, Eq. 2."""


def canonical_width(width: int | None, in_groups: int, out_groups: int) -> int | None:
    """Equal reads, equal value: a width that reaches the oldest group in the last step is dense (None).

    Step i has G + i - 1 groups before it, so every width of at least G + g - 1 reads all of them.
    """
    return None if width is None or width >= in_groups + out_groups - 1 else width


def sources(step: int, in_groups: int, width: int | None) -> range:
    """Groups read by `step` (1-based): the last `width` groups before it, clipped at the oldest input 1 - G."""
    oldest = 1 - in_groups
    return range(oldest if width is None else max(oldest, step - width), step)


def source_pairs(in_groups: int, out_groups: int, width: int | None) -> int:
    """N, the number of (step, source) pairs: the layer's weights grow as k^2 N."""
    return sum(len(sources(step, in_groups, width)) for step in range(1, out_groups + 1))


def unread_groups(in_groups: int, width: int | None) -> int:
    """How many of the oldest input groups no step reads: G - w for w < G, because the first step reaches furthest."""
    return 0 if width is None else max(0, in_groups - width)


def serial_depth(in_groups: int, out_groups: int, width: int | None) -> int:
    """Steps on the longest chain in which each must wait for the one before."""
    depth: dict[int, int] = {}
    for step in range(1, out_groups + 1):
        depth[step] = 1 + max((depth[s] for s in sources(step, in_groups, width) if s > 0), default=0)
    return depth[out_groups]
