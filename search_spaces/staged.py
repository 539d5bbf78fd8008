"""The space of `windowed` and `dense`: per stage its blocks, groups, window and form, each a constant or a knob.

How a window's value gets from the YAML file to a convolution: `StagedSpace.stage1["window"]` -> `Gene` and its knob ->
`StagedSpace.decode` -> `Stage.window` -> `SeqConv2d.adjacency`, which lists what each step convolves.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.genes import STAGE_FIELDS, Gene, parse_genes
from search_spaces.knobs import Knob, Value, text
from search_spaces.space import check_knobs, checked_values
from seqconv import Architecture, Stage, Window, validation
from seqconv.architecture import BASE_WIDTH, MOST_CHANNELS

MAX_STAGES = 4


@dataclass(frozen=True, kw_only=True)
class StagedSpace:
    """Stages that are set one by one.

    A stage is a mapping with `blocks`, `groups` (G, into which the stage's width is split) or `group_width` (k), and
    if wanted `window`, `form` and `subgroups`. Each is a constant, or a knob such as
    `{type: integer, low: 1, high: 2}`; its name is stage1.blocks and so on. A float knob of a window is a ratio of G,
    an integer one a number of groups, and choices are written as `aggregation.parse_pattern` reads them: `0.5G`,
    `dense`, `log`, `dilated(4, 2)` and so on.

    Raises:
        ValueError: starting with search_space and the field's name.
    """

    name: str
    """Short name, for tables."""
    pyramid: Sequence[int] = (1, 2, 4)
    """Relative widths of the stages."""
    family: str = "cifar"
    """Network family."""
    allow_unread: bool = True
    """Whether input groups may be left that no step of a layer reads: the oldest ones, where a window has w < G."""
    widening: Any = 2
    """W, multiplies every stage's width; a constant or a knob."""
    stage1: Mapping[str, Any] | None = None
    """The stage of highest resolution."""
    stage2: Mapping[str, Any] | None = None
    """Half of its resolution, as in each stage that follows."""
    stage3: Mapping[str, Any] | None = None
    """The third stage."""
    stage4: Mapping[str, Any] | None = None
    """The fourth stage."""
    genes: Mapping[str, Gene] = field(init=False, repr=False, compare=False)
    """The parsed fields: widening, stage1.blocks, ..."""
    knobs: tuple[Knob, ...] = field(init=False, repr=False, compare=False)
    """The dimensions, in the order in which they are written."""

    def __post_init__(self) -> None:
        try:
            self._check_fields()
            object.__setattr__(self, "genes", parse_genes(self._settings()))
            object.__setattr__(self, "knobs", tuple(g.knob for g in self.genes.values() if g.knob is not None))
            check_knobs(self.knobs)
        except ValueError as error:
            raise ValueError(f"search_space.{error}") from None

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """The architecture of a knob vector.

        Raises:
            ValueError: a knob missing, unknown or out of its domain, a stage's width that does not split into whole
                groups, subgroups that the form does not allow, or unread groups where they are not allowed.
        """
        values = checked_values(self.knobs, values)
        settings = {name: gene.value(values) for name, gene in self.genes.items()}
        widening = settings["widening"]
        stages = tuple(
            self._stage(number, _width(BASE_WIDTH[self.family] * widening * p, self.pyramid[0]), settings)
            for number, p in enumerate(self.pyramid, start=1)
        )
        architecture = Architecture(family=self.family, widening=widening, pyramid=tuple(self.pyramid), stages=stages)
        if not self.allow_unread:
            _check_all_read(architecture)
        return architecture

    def to_dict(self) -> dict[str, Any]:
        """Plain data that identifies the space: equal for equal spaces."""
        fields = {"space": "staged", "name": self.name, "family": self.family, "pyramid": list(self.pyramid)}
        genes = {name: gene.to_plain() for name, gene in self.genes.items()}
        return {**fields, "allow_unread": self.allow_unread, "genes": genes}

    def _check_fields(self) -> None:
        text("name", self.name)
        validation.one_of("family", self.family, BASE_WIDTH)
        validation.boolean("allow_unread", self.allow_unread)
        if not isinstance(self.pyramid, (list, tuple)) or not self.pyramid:
            raise ValueError(f"pyramid must be a list such as [1, 2, 4], got {self.pyramid!r}")
        object.__setattr__(self, "pyramid", tuple(validation.integer("pyramid entry", p) for p in self.pyramid))
        given = [f"stage{n}" for n in range(1, MAX_STAGES + 1) if getattr(self, f"stage{n}") is not None]
        needed = [f"stage{n}" for n in range(1, len(self.pyramid) + 1)]
        if given != needed:
            needs = f"pyramid {list(self.pyramid)} needs one stage an entry: {', '.join(needed)}"
            surplus = "".join(f"; ~search_space.{stage} removes one" for stage in given if stage not in needed)
            raise ValueError(f"{needs}; got {', '.join(given) or 'none'}{surplus}")

    def _settings(self) -> dict[str, Any]:
        settings = {"widening": self.widening}
        for number in range(1, len(self.pyramid) + 1):
            where = f"stage{number}"
            stage = validation.exact_keys(where, getattr(self, where), ("blocks",), STAGE_FIELDS)
            if ("groups" in stage) == ("group_width" in stage):
                raise ValueError(f"{where}: give either groups or group_width, got {', '.join(stage)}")
            settings |= {f"{where}.{name}": value for name, value in stage.items()}
        return settings

    def _stage(self, number: int, width: int, settings: Mapping[str, Any]) -> Stage:
        prefix = f"stage{number}."
        own = {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}
        try:
            if "groups" in own:
                own["group_width"] = _group_width(own.pop("groups"), width)
            return Stage(**own)
        except ValueError as error:
            raise ValueError(f"stage {number}: {error}") from None


def _width(product: int, first: int) -> int:
    if product % first:
        raise ValueError(f"a width of {product} / {first} is no integer: change widening or pyramid")
    if product // first > MOST_CHANNELS:
        raise ValueError(f"a width must be at most {MOST_CHANNELS:,} channels, got {product // first:,}")
    return product // first


def _group_width(groups: int, width: int) -> int:
    if width % groups:
        allowed = ", ".join(str(d) for d in range(1, width + 1) if width % d == 0)
        raise ValueError(f"groups must divide its width {width}, got {groups}; allowed are {allowed}")
    return width // groups


def _check_all_read(architecture: Architecture) -> None:
    """Refuse unread groups in the layers of a stage's blocks and in the one that grows to the next stage's width."""
    growths = [wider - width for width, wider in itertools.pairwise(architecture.widths)]
    stages = zip(architecture.stages, architecture.widths, (*growths, 0), strict=True)
    for number, (stage, *channels) in enumerate(stages, start=1):
        in_groups, grown = (c // stage.group_width for c in channels)
        for out_groups in filter(None, (in_groups, grown)):
            unread = stage.window.adjacency(in_groups, out_groups).unread
            if unread:
                raise ValueError(f"stage {number}: {_leaves(stage, len(unread), in_groups, out_groups)}")


def _leaves(stage: Stage, unread: int, in_groups: int, out_groups: int) -> str:
    if isinstance(stage.window, Window):
        width = stage.window.resolve(in_groups)
        return (
            f"a window of {width} leaves the oldest {unread} of {in_groups} input groups unread, which "
            f"allow_unread=false forbids; allowed is {in_groups} or more"
        )
    return (
        f"window {stage.window} leaves {unread} of {in_groups} input groups unread in a layer with g = {out_groups}, "
        "which allow_unread=false forbids"
    )
