"""An architecture as plain, frozen data: validated when made, compared by what it computes, free of torch.

Two settings with the same group-to-group adjacency are the same network: `canonical` brings them to one form and
`fingerprint` names it. The number of classes is not part of an architecture; `seqconv.networks.build` takes it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

from seqconv import validation
from seqconv.aggregation import Pattern, Window, canonical, parse_pattern

SCHEMA = "seqconv.architecture"
VERSION = 1
BASE_WIDTH = {"cifar": 16, "imagenet": 64}
"""Channels of the first stage of each network family with widening 1."""
PYRAMID = {"cifar": (1, 2, 4), "imagenet": (1, 2, 4, 8)}
"""Relative widths of the stages of each network family where an architecture gives none."""
FORMS = ("plain", "bottleneck")
MOST_STAGES, MOST_BLOCKS, MOST_CHANNELS, MOST_GROUPS, MOST_STEPS = 8, 1024, 1 << 14, 512, 1 << 14
"""Stages, and blocks in all of them; channels of a stage; groups of a layer; groups of all layers of the blocks. Beyond
any network, but within what is read, compared and built in seconds: a file of unknown origin keeps nobody waiting."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One resolution of the network: `blocks` residual blocks of two SeqConv layers each.

    Raises:
        ValueError: a field out of range, or subgroups that the form or the group width does not allow.
    """

    blocks: int
    """Residual blocks."""
    group_width: int
    """k, channels of a group."""
    window: Pattern = Window(ratio=1.0)
    """Which groups before it a step reads: an aggregation window g' or another pattern."""
    form: str = "plain"
    """plain: one 3x3 a step; bottleneck: 1x1 to k channels, batch norm, ReLU, 3x3 (the paper's B)."""
    subgroups: int = 1
    """S, groups of the bottleneck's 3x3 (the paper's SeqResNeXt where above 1)."""

    def __post_init__(self) -> None:
        validation.integer("blocks", self.blocks)
        validation.integer("group_width", self.group_width)
        validation.integer("subgroups", self.subgroups)
        validation.one_of("form", self.form, FORMS)
        object.__setattr__(self, "window", parse_pattern(self.window))
        if self.group_width % self.subgroups:
            raise ValueError(f"subgroups must divide group_width {self.group_width}, got {self.subgroups}")
        if self.subgroups > 1 and self.form != "bottleneck":
            raise ValueError(f"subgroups above 1 need form bottleneck, got {self.subgroups} in form {self.form}")

    @property
    def form_name(self) -> str:
        """plain, B or B/S, as the paper abbreviates them."""
        if self.form == "plain":
            return "plain"
        return "B" if self.subgroups == 1 else f"B/{self.subgroups}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "window": self.window.to_plain()}

    @classmethod
    def from_dict(cls, data: Any, where: str = "stage") -> Stage:
        """Inverse of `to_dict`; window, form and subgroups may be left out.

        Raises:
            ValueError: naming `where` and the key or value that is not allowed.
        """
        validation.has_keys(where, data, ())
        try:
            # Before the keys: inside {}, YAML reads `dilated(4, 2)` without quotes as `dilated(4` and a key `2)`.
            window = parse_pattern(data.get("window", cls.window))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        validation.exact_keys(where, data, ("blocks", "group_width"), ("window", "form", "subgroups"))
        try:
            return cls(**{**data, "window": window})
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A SeqResNet: stem, dense SeqConv to the first stage's width, residual stages, classifier.

    Stage s has `base * widening * pyramid[s] / pyramid[0]` channels, base being the family's BASE_WIDTH.

    Raises:
        ValueError: a widening that leaves no whole number of channels, a width that does not split into whole groups,
            naming the stage, its width and the divisors allowed, a pattern that is not defined for the groups of a
            layer, naming the stage, or more of anything than any network has.
    """

    stages: tuple[Stage, ...]
    """The residual stages, highest resolution first."""
    widening: float = 1
    """W, multiplies every stage's width: an integer, or a float of which `base` makes a whole number of channels. A
    float without a fraction becomes an integer."""
    pyramid: tuple[int, ...] = ()
    """p, relative widths of the stages, strictly increasing; where none are given, those of the family."""
    family: str = "cifar"
    """Which network realises it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        validation.one_of("family", self.family, BASE_WIDTH)
        object.__setattr__(self, "pyramid", tuple(self.pyramid) or PYRAMID[self.family])
        object.__setattr__(self, "widening", _widening(self.widening, self.family))
        if not self.stages or len(self.stages) != len(self.pyramid):
            raise ValueError(f"pyramid needs one entry a stage, got {list(self.pyramid)} for {len(self.stages)} stages")
        _at_most("stages", len(self.stages), MOST_STAGES)
        _at_most("blocks in all stages", sum(stage.blocks for stage in self.stages), MOST_BLOCKS)
        for p in self.pyramid:
            validation.integer("pyramid entry", p)
        if any(wider <= p for p, wider in itertools.pairwise(self.pyramid)):
            raise ValueError(f"pyramid must increase strictly, got {list(self.pyramid)}")
        base = self._first_width
        for p in self.pyramid:
            if base * p % self.pyramid[0]:
                raise ValueError(f"width {base} * {p} / {self.pyramid[0]} is no integer: change widening or pyramid")
        _at_most("channels of the last stage", self.widths[-1], MOST_CHANNELS)
        self._check_groups()
        steps = sum(2 * stage.blocks * groups for stage, groups in zip(self.stages, self.groups, strict=True))
        _at_most("steps in all blocks", steps, MOST_STEPS)
        self._check_patterns()

    def _check_groups(self) -> None:
        """A stage's groups make up its own width, and what the next stage is wider: the layer between has them too."""
        growths = [wider - width for width, wider in itertools.pairwise(self.widths)]
        for number, (stage, width) in enumerate(zip(self.stages, self.widths, strict=True), start=1):
            totals = {f"its width {width}": width}
            for growth in growths[number - 1 : number]:
                totals[f"the {growth} channels by which stage {number + 1} is wider"] = growth
            _divides(f"stage {number}: group_width", stage.group_width, totals)
            _at_most(f"groups of stage {number}", max(totals.values()) // stage.group_width, MOST_GROUPS)

    def _check_patterns(self) -> None:
        for number, (stage, sizes) in enumerate(zip(self.stages, self._layer_sizes(), strict=True), start=1):
            # A window is defined for every size, and a search makes tens of thousands of architectures.
            for in_groups, out_groups in () if isinstance(stage.window, Window) else sizes:
                try:
                    stage.window.adjacency(in_groups, out_groups)
                except ValueError as error:
                    raise ValueError(f"stage {number}: window {error}") from None

    def _layer_sizes(self) -> list[tuple[tuple[int, int], ...]]:
        """The groups (G, g) of the layers that use each stage's pattern: in its blocks, and growing to the next."""
        sizes: list[tuple[tuple[int, int], ...]] = []
        growths = [wider - width for width, wider in itertools.pairwise(self.widths)]
        for stage, width, growth in zip(self.stages, self.widths, (*growths, 0), strict=True):
            groups, grown = width // stage.group_width, growth // stage.group_width
            sizes.append(((groups, groups), (groups, grown)) if grown else ((groups, groups),))
        return sizes

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self._first_width * p // self.pyramid[0] for p in self.pyramid)

    @property
    def groups(self) -> tuple[int, ...]:
        """G of each stage, the groups of its width."""
        return tuple(width // stage.group_width for stage, width in zip(self.stages, self.widths, strict=True))

    @property
    def _first_width(self) -> int:
        return int(BASE_WIDTH[self.family] * self.widening)

    def canonical(self) -> Architecture:
        """The same network with the pyramid in lowest terms and every pattern in its canonical form."""
        stages = tuple(
            replace(stage, window=canonical(stage.window, sizes))
            for stage, sizes in zip(self.stages, self._layer_sizes(), strict=True)
        )
        divisor = math.gcd(*self.pyramid)
        return replace(self, stages=stages, pyramid=tuple(p // divisor for p in self.pyramid))

    def fingerprint(self) -> str:
        """16 hexadecimal digits that two architectures share exactly if they compute the same function of weights."""
        fields = {key: value for key, value in self.canonical().to_dict().items() if key not in ("schema", "version")}
        plain = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers with schema and version, ready for YAML or JSON."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "family": self.family,
            "widening": self.widening,
            "pyramid": list(self.pyramid),
            "stages": [stage.to_dict() for stage in self.stages],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Architecture:
        """Inverse of `to_dict`.

        Raises:
            ValueError: another schema, a newer version, an unknown or missing key, or a value that is not allowed.
        """
        check_schema("architecture", data, SCHEMA, VERSION)
        required, optional = ("schema", "version", "widening", "stages"), ("family", "pyramid")
        data = validation.exact_keys("architecture", data, required, optional)
        if not isinstance(data["stages"], (list, tuple)):
            raise ValueError(f"architecture: stages must be a list, got {data['stages']!r}")
        fields = {k: v for k, v in data.items() if k not in ("schema", "version", "stages")}
        if not isinstance(fields.get("pyramid", []), (list, tuple)):
            raise ValueError(f"architecture: pyramid must be a list, got {fields['pyramid']!r}")
        stages = (Stage.from_dict(stage, f"stage {i}") for i, stage in enumerate(data["stages"], start=1))
        return cls(stages=tuple(stages), **fields)

    def describe(self) -> str:
        """One line: widening, then per stage blocks x groups of k, window and form."""
        return f"W{self.widening} " + " | ".join(
            f"{s.blocks}x{groups}g{s.group_width} w={s.window} {s.form_name}"
            for s, groups in zip(self.stages, self.groups, strict=True)
        )


class NewerVersion(ValueError):
    """A document that a newer release wrote."""


def check_schema(where: str, data: Any, schema: str, version: int) -> None:
    """Refuse a document of another schema or of a version newer than this code reads.

    Comes before any check of other keys, which a newer version may have added.

    Raises:
        NewerVersion: as its name says.
        ValueError: another schema; naming what stands there and what is read.
    """
    validation.has_keys(where, data, ("schema", "version"))
    if data["schema"] != schema:
        raise ValueError(f"{where}: schema must be {schema!r}, got {data['schema']!r}")
    found = validation.integer(f"{where}: version", data["version"])
    if found > version:
        readable = f"{version}, the newest this release reads: upgrade it"
        raise NewerVersion(f"{where}: version {found} is newer than {readable}")


def _widening(value: Any, family: str) -> float:
    """A positive multiple of 1 / base, as an int where it is whole; a float holds every one that is not."""
    base = BASE_WIDTH[family]
    allowed = f"widening must be a multiple of 1/{base} above 0, as the base width of {family} is {base} channels"
    # A bool is an int, and NaN is neither above 0 nor below infinity.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"{allowed}, got {value!r}")
    channels = Fraction(value) * base
    if channels.denominator != 1:
        near = [str(n / base) for n in (math.floor(channels), math.ceil(channels)) if n]
        raise ValueError(
            f"{allowed}, got {value!r}; next to it {'are' if len(near) > 1 else 'is'} {' and '.join(near)}"
        )
    return int(channels) // base if channels % base == 0 else float(channels / base)


def _divides(what: str, divisor: int, totals: Mapping[str, int]) -> None:
    for of, total in totals.items():
        if total % divisor:
            allowed = ", ".join(map(str, _divisors(math.gcd(*totals.values()))))
            raise ValueError(f"{what} must divide {of}, got {divisor}; allowed are {allowed}")


def _at_most(what: str, found: int, most: int) -> None:
    if found > most:
        raise ValueError(f"{what} must be at most {most:,}, got {found:,}")


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})
