"""A narrow network with the genes of a wide one: a cheaper stand-in that reads the same groups."""

from __future__ import annotations

import math
from dataclasses import replace

from seqconv import validation
from seqconv.aggregation import Window
from seqconv.architecture import BASE_WIDTH, Architecture, Stage


def narrowed(architecture: Architecture, share: float | None) -> Architecture:
    """The architecture with about that share of each stage's channels; with None as it is.

    As in `realisation.imagenet_realisation` each stage keeps its blocks, its number of groups G, its window or other
    pattern as it is written, its form and its subgroups, so that what the steps of a block read stays; channels come
    off the groups. A group keeps at least one channel for each of its subgroups, a stage stays wider than the one
    before, and what it is wider by stays whole groups of that one. Where these leave no stage at exactly its share, the
    widths are those nearest to it: of the least sum of squared logarithms of what each stage is off by; among equals
    the narrowest first stage, then the second, and so on. Stem and classifier are not scaled.

    Raises:
        ValueError: a share that is not above 0 and at most 1.
    """
    if share is None:
        return architecture
    validation.number("share of the channels", share, low=0, high=1, open_low=True)
    group_widths = _nearest(architecture, share)
    stages = tuple(replace(s, group_width=k) for s, k in zip(architecture.stages, group_widths, strict=True))
    widths = [groups * k for groups, k in zip(architecture.groups, group_widths, strict=True)]
    divisor = math.gcd(*widths)
    return Architecture(
        family=architecture.family,
        stages=stages,
        widening=widths[0] / BASE_WIDTH[architecture.family],
        pyramid=tuple(width // divisor for width in widths),
    )


def _nearest(architecture: Architecture, share: float) -> tuple[int, ...]:
    """Group widths, stage by stage: for each that a stage may end with, the best way there."""
    best: dict[int, tuple[float, tuple[int, ...]]] = {}
    for number, (stage, groups) in enumerate(zip(architecture.stages, architecture.groups, strict=True)):
        reached: dict[int, tuple[float, tuple[int, ...]]] = {}
        for k in range(stage.subgroups, stage.group_width + 1, stage.subgroups):
            off = math.log(k / (share * stage.group_width)) ** 2
            before = architecture.stages[number - 1], architecture.groups[number - 1]
            ways = [best[last] for last in best if _fits(*before, last, groups * k)] if number else [(0.0, ())]
            if ways:
                cost, widths = min(ways)
                reached[k] = (cost + off, (*widths, k))
        best = reached
    return min(best.values())[1]


def _fits(stage: Stage, groups: int, group_width: int, next_width: int) -> bool:
    """Whether a stage of so wide groups can grow to the width of the next one."""
    grown, rest = divmod(next_width - groups * group_width, group_width)
    if grown <= 0 or rest:
        return False
    if isinstance(stage.window, Window):
        return True
    try:
        stage.window.adjacency(groups, grown)
    except ValueError:
        return False
    return True
