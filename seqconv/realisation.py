"""The ImageNet network that an architecture found on CIFAR stands for.

`python -m seqconv.realisation PRESET|FILE [--target 25.6e6] [--measure params|macs] [--out imagenet.yaml]` prints both.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import functools
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from seqconv import complexity, validation
from seqconv.architecture import BASE_WIDTH, PYRAMID, Architecture, Stage
from seqconv.networks.presets import FAMILIES, PRESETS
from seqconv.serialization import read_architecture, write_architecture

if TYPE_CHECKING:
    from seqconv.networks.part import Part

TARGET = 25.6e6
"""Parameters of ResNet-50, and about those of the paper's SeqResNet-B42 and SeqResNeXt-24."""
TOLERANCE = 0.05
MEASURES = ("params", "macs")
CLASSES, RESOLUTION = FAMILIES["imagenet"].classes, FAMILIES["imagenet"].resolution
DOUBLING = PYRAMID["imagenet"]
STARTS = 3
"""Networks with doubling stages, on each side of the target, of which one growth may be changed."""


def imagenet_realisation(
    architecture: Architecture,
    *,
    target: float = TARGET,
    measure: str = "params",
    tolerance: float = TOLERANCE,
    classes: int = CLASSES,
    resolution: int = RESOLUTION,
) -> Architecture:
    """The ImageNet architecture with the genes of one for CIFAR, as wide as the target asks for.

    Each stage keeps its blocks, its number of groups G, its window or other pattern as it is written, its form and its
    subgroups; of three stages the third is repeated as the fourth. As G stays, so does what the steps of a block read.
    Group widths follow from the widths of the stages, which are found in this order:

    1. The stages double. Of the widenings with which every stage splits into its groups, and these into their
       subgroups, the one whose cost is nearest to the target, if it is within the tolerance.
    2. Otherwise one growth is changed, and the stages before and behind it double as ever. Each of the three nearest
       doubling networks below the target is made wider from its second, third or fourth stage on, and each of the three
       nearest above it narrower: by whole groups of the stage before, until it comes within the tolerance. A stage has
       more than 1 and less than 4 times the width of the one before. Of all that come within the tolerance, the one
       whose growth is the smallest factor away from 2; among equals the one with the latest stage changed, then one
       that was made wider, then the one whose doubling network is nearer to the target.
    3. Otherwise whichever of all these is nearest to the target; `side_by_side` says by how much it misses it.

    Args:
        architecture: of family cifar, with three or four stages.
        target: what the network is to cost, from 1 to 1e12.
        measure: what that counts: `params`, or `macs`, which takes seconds where stages have dozens of groups.
        tolerance: by which share of the target the network may be off, from 0 to 1.
        classes: of the ImageNet network.
        resolution: side of its images in pixels, on which multiply-adds depend.

    Raises:
        ValueError: an architecture of another family or number of stages, or an argument out of range.
    """
    goal = _Goal(target=target, measure=measure, tolerance=tolerance, classes=classes, resolution=resolution)
    genes = _Genes.of(architecture)
    below, above = _doubling(genes, goal)
    nearest = min((*below, *above), key=goal.miss)
    return nearest if goal.met(nearest) else _adjusted(genes, goal, nearest, below, above)


def side_by_side(
    cifar: Architecture,
    imagenet: Architecture,
    *,
    target: float = TARGET,
    measure: str = "params",
    tolerance: float = TOLERANCE,
    classes: int = CLASSES,
    resolution: int = RESOLUTION,
) -> list[str]:
    """A table of both networks for a person: their stages, what they cost, and how far from the target that is.

    Args:
        cifar: measured with the images and classes of its family.
        imagenet: measured with `classes` and `resolution`.
        target: as in `imagenet_realisation`.
        measure: as in `imagenet_realisation`.
        tolerance: as in `imagenet_realisation`.
        classes: as in `imagenet_realisation`.
        resolution: as in `imagenet_realisation`.

    Raises:
        ValueError: an argument out of range.
    """
    goal = _Goal(target=target, measure=measure, tolerance=tolerance, classes=classes, resolution=resolution)
    family = FAMILIES[cifar.family]
    images = [
        f"{side}x{side}, {of:,} classes" for side, of in ((family.resolution, family.classes), (resolution, classes))
    ]
    costs = [complexity.measure(cifar), complexity.measure(imagenet, resolution=resolution, classes=classes)]
    names = ("params", "macs", "paper_flops", "serial_depth", "unread_groups")
    rows = [
        ("", "cifar", "imagenet"),
        ("images", *images),
        ("widening", str(cifar.widening), str(imagenet.widening)),
        *((name, *(f"{getattr(cost, name):,}" for cost in costs)) for name in names),
        ("fingerprint", cifar.fingerprint(), imagenet.fingerprint()),
    ]
    return [*_table(_stage_rows(cifar, imagenet)), "", *_table(rows), "", goal.verdict(getattr(costs[1], measure))]


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """What the ImageNet network is to cost: the arguments of `imagenet_realisation`."""

    target: float
    measure: str
    tolerance: float
    classes: int
    resolution: int

    def __post_init__(self) -> None:
        # The layers of networks beyond it are larger than a tensor may be.
        validation.number("target", self.target, low=1, high=1e12)
        validation.one_of("measure", self.measure, MEASURES)
        validation.number("tolerance", self.tolerance, low=0, high=1)
        validation.integer("classes", self.classes)
        validation.integer("resolution", self.resolution)

    def cost(self, architecture: Architecture) -> int:
        if self.measure == "params":
            return _params(architecture, self.classes)
        return complexity.measure(architecture, resolution=self.resolution, classes=self.classes).macs

    def miss(self, architecture: Architecture) -> float:
        return abs(self.cost(architecture) - self.target)

    def met(self, architecture: Architecture) -> bool:
        return self.miss(architecture) <= self.tolerance * self.target

    def verdict(self, cost: int) -> str:
        """For a person: the target, and by which share of it a cost is off."""
        off = f"target {self.target:,.0f} {self.measure}: off by {cost / self.target - 1:+.2%}"
        within = abs(cost - self.target) <= self.tolerance * self.target
        return off if within else f"{off}, more than the {self.tolerance:.2%} that were asked for"


@dataclass(frozen=True, kw_only=True)
class _Genes:
    """What an architecture hands on."""

    stages: tuple[Stage, ...]
    """Those of the ImageNet network but for their group widths."""
    groups: tuple[int, ...]
    """G of each stage."""

    @classmethod
    def of(cls, architecture: Architecture) -> _Genes:
        if architecture.family != "cifar":
            raise ValueError(f"architecture must be of family cifar, got one of family {architecture.family}")
        stages, groups = architecture.stages, architecture.groups
        most = len(DOUBLING)
        if len(stages) not in (most - 1, most):
            raise ValueError(
                f"architecture must have {most} stages, or {most - 1} to repeat the last of, got {len(stages)}"
            )
        missing = most - len(stages)
        return cls(stages=stages + stages[-1:] * missing, groups=groups + groups[-1:] * missing)

    @property
    def units(self) -> tuple[int, ...]:
        """What each stage's width must be a multiple of: G groups of S subgroups."""
        return tuple(groups * stage.subgroups for groups, stage in zip(self.groups, self.stages, strict=True))

    def realised(self, widths: Sequence[int]) -> Architecture:
        """The ImageNet architecture with these widths.

        Raises:
            ValueError: widths that do not split, or a pattern that is not defined for what a stage grows by.
        """
        stages = tuple(
            replace(stage, group_width=width // groups)
            for stage, width, groups in zip(self.stages, widths, self.groups, strict=True)
        )
        widening = widths[0] / BASE_WIDTH["imagenet"]
        divisor = math.gcd(*widths)
        pyramid = tuple(width // divisor for width in widths)
        return Architecture(family="imagenet", stages=stages, widening=widening, pyramid=pyramid)


def _doubling(genes: _Genes, goal: _Goal) -> tuple[list[Architecture], list[Architecture]]:
    """The networks with doubling stages next to the target, up to it and beyond it, each with the nearest first."""
    step = math.lcm(*(unit // math.gcd(unit, p) for unit, p in zip(genes.units, DOUBLING, strict=True)))

    def realised(steps: int) -> Architecture:
        return genes.realised([steps * step * p for p in DOUBLING])

    beyond = 1
    for _ in range(3):  # costs grow with about the square of the width, which leads to the target's neighbourhood
        beyond = max(1, round(beyond * math.sqrt(goal.target / goal.cost(realised(beyond)))))
    while goal.cost(realised(beyond)) <= goal.target:
        beyond += 1
    while beyond > 1 and goal.cost(realised(beyond - 1)) > goal.target:
        beyond -= 1
    below = range(beyond - 1, max(beyond - 1 - STARTS, 0), -1)
    return [realised(steps) for steps in below], [realised(beyond + more) for more in range(STARTS)]


def _adjusted(
    genes: _Genes, goal: _Goal, nearest: Architecture, below: Sequence[Architecture], above: Sequence[Architecture]
) -> Architecture:
    """Rules 2 and 3 of `imagenet_realisation`."""
    found: Architecture | None = None
    for stage in reversed(range(1, len(DOUBLING))):
        for start, sign in (*((start, 1) for start in below), *((start, -1) for start in above)):
            limit = _departure(found) if found else math.inf
            grown = [other for other in _grown(genes, start.widths, stage, sign) if _departure(other) < limit]
            reaching = _reaching(grown, goal, sign)
            nearest = min((nearest, *reaching), key=goal.miss)
            found = next(filter(goal.met, reaching), found)
    return found or nearest


def _grown(genes: _Genes, widths: Sequence[int], stage: int, sign: int) -> Iterator[Architecture]:
    """Networks of which `stage` does not double, those nearest to it first: wider with sign 1, narrower with -1."""
    groups = genes.groups[stage - 1]
    group_width = widths[stage - 1] // groups
    for wider in range(2 * groups + sign, 4 * groups if sign > 0 else groups, sign):
        changed = [*widths[:stage], *(wider * group_width * p for p in DOUBLING[: len(DOUBLING) - stage])]
        if all(width % unit == 0 for width, unit in zip(changed, genes.units, strict=True)):
            # A longer extension may need more steps than a list of sources has.
            with contextlib.suppress(ValueError):
                yield genes.realised(changed)


def _reaching(grown: Sequence[Architecture], goal: _Goal, sign: int) -> Sequence[Architecture]:
    """Of networks that cost more and more (with sign -1 less and less) the first that may be within the tolerance, and
    the one before it. By bisection, as each cost takes its time."""
    reached = sign * goal.target - goal.tolerance * goal.target
    first = bisect.bisect_left(grown, reached, key=lambda other: sign * goal.cost(other))
    return grown[max(first - 1, 0) : first + 1]


def _departure(architecture: Architecture) -> Fraction:
    """The factor by which the growth that is farthest from 2 differs from it, at least 1."""
    growths = [Fraction(wider, 2 * width) for width, wider in itertools.pairwise(architecture.widths)]
    return max(max(growth, 1 / growth) for growth in growths)


def _params(architecture: Architecture, classes: int) -> int:
    from seqconv.networks.build import plan

    return sum(map(_part_params, plan(architecture, classes=classes).values()))


@functools.lru_cache(maxsize=65536)
def _part_params(part: Part) -> int:
    """As `complexity.measure` counts them, without the passes that it needs for all else."""
    import torch

    with torch.device("meta"):
        return sum(p.numel() for p in part.build().parameters() if p.requires_grad)


def _stage_rows(*networks: Architecture) -> list[tuple[str, ...]]:
    columns = ("width", "groups", "k", "window", "form", "blocks")
    rows = [["", *itertools.chain(*((name, *[""] * (len(columns) - 1)) for name in ("cifar", "imagenet")))],
            ["stage", *columns, *columns]]  # fmt: skip
    for index in range(max(len(network.stages) for network in networks)):
        row = [str(index + 1)]
        for network in networks:
            row += _stage_cells(network, index) if index < len(network.stages) else ["-"] * len(columns)
        rows.append(row)
    return [tuple(row) for row in rows]


def _stage_cells(network: Architecture, index: int) -> list[str]:
    stage = network.stages[index]
    numbers = (network.widths[index], network.groups[index], stage.group_width)
    return [*map(str, numbers), str(stage.window), stage.form_name, str(stage.blocks)]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and all others to the right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]).rstrip() for row in rows]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 2 where the input cannot be used."""
    options = _parser().parse_args(arguments)
    goal = {name: getattr(options, name) for name in ("target", "measure", "tolerance", "classes", "resolution")}
    try:
        cifar = read_architecture(options.architecture)
        imagenet = imagenet_realisation(cifar, **goal)
        lines = side_by_side(cifar, imagenet, **goal)
        if options.out is not None:
            write_architecture(imagenet, options.out)
    except (ValueError, OSError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m seqconv.realisation", description=__doc__.splitlines()[0])
    presets = ", ".join(name for name, preset in PRESETS.items() if preset.family == "cifar")
    parser.add_argument("architecture", help=f"an architecture.yaml, or a preset: {presets}")
    parser.add_argument("--target", type=float, default=TARGET, help=f"what it is to cost (default: {TARGET:g})")
    parser.add_argument("--measure", default=MEASURES[0], choices=MEASURES, help="what that counts (default: params)")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="share of the target (default: 0.05)")
    parser.add_argument("--classes", type=int, default=CLASSES, help=f"of the ImageNet network (default: {CLASSES})")
    parser.add_argument("--resolution", type=int, default=RESOLUTION, help=f"image side (default: {RESOLUTION})")
    parser.add_argument("--out", help="the ImageNet architecture.yaml to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
