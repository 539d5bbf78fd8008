"""Fields of an architecture that a search space sets to a constant or leaves to a knob. Pure Python: no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.knobs import Float, Integer, Knob, Value, from_plain, same
from seqconv import Stage, Window, validation
from seqconv.aggregation import Pattern, parse_pattern
from seqconv.architecture import FORMS


@dataclass(frozen=True, kw_only=True)
class Gene:
    """One field: the value of `knob` where that is active, else `constant`."""

    name: str
    """Where it stands in the space, such as stage1.window."""
    knob: Knob | None = None
    """The knob that sets it, if any."""
    constant: Any = None
    """The value in an architecture where no knob sets it."""

    def value(self, values: Mapping[str, Value]) -> Any:
        """What the architecture gets, for checked knob values."""
        if self.knob is None or self.knob.name not in values:
            return self.constant
        return _read(self.name, values[self.knob.name], self.knob)

    def to_plain(self) -> Any:
        """Plain data that identifies it: the constant, or the knob with what holds where it is inactive."""
        constant = self.constant.to_plain() if isinstance(self.constant, Pattern) else self.constant
        if self.knob is None:
            return constant
        return self.knob.to_dict() | ({"otherwise": constant} if self.knob.when else {})


def parse_genes(settings: Mapping[str, Any]) -> dict[str, Gene]:
    """A gene for every setting, which is a constant or a mapping that describes a knob, such as
    `{type: categorical, choices: [1, 2, 4], when: {stage1.form: [bottleneck]}, otherwise: 1}`.

    A condition on a setting that is constant is resolved here, so that overriding a knob with a constant needs no other
    change. `otherwise` holds where a condition does not; it may be left out where `Stage` has a default.

    Raises:
        ValueError: starting with the setting's name.
    """
    constants = {name: _parse(name, value) for name, value in settings.items() if not isinstance(value, Mapping)}
    genes: dict[str, Gene] = {}
    for name, value in settings.items():
        gene = _knob_gene(name, value, constants) if isinstance(value, Mapping) else None
        genes[name] = gene or Gene(name=name, constant=constants[name])
    return genes


def _knob_gene(name: str, data: Mapping[str, Any], constants: dict[str, Any]) -> Gene | None:
    """None where a condition on a constant leaves the knob inactive for ever: then `constants` gets its value."""
    knob = from_plain(name, {k: v for k, v in data.items() if k != "otherwise"})
    _check_domain(name, knob)
    if not knob.when and "otherwise" in data:
        raise ValueError(f"{name}: otherwise needs a condition: add when, or leave it out")
    constant = _otherwise(name, data) if knob.when else None
    open_conditions = {earlier: allowed for earlier, allowed in knob.when.items() if earlier not in constants}
    for earlier in knob.when.keys() - open_conditions.keys():
        if not any(same(_parse(earlier, allowed), constants[earlier]) for allowed in knob.when[earlier]):
            constants[name] = constant
            return None
    own = {k: v for k, v in data.items() if k not in ("otherwise", "when")}
    return Gene(name=name, knob=from_plain(name, {**own, "when": open_conditions}), constant=constant)


def _otherwise(name: str, data: Mapping[str, Any]) -> Any:
    if "otherwise" in data:
        return _parse(name, data["otherwise"])
    field = _field(name)
    if field not in DEFAULTS:
        raise ValueError(f"{name}: a knob with a condition needs otherwise, the value where that does not hold")
    return DEFAULTS[field]


def _check_domain(name: str, knob: Knob) -> None:
    if isinstance(knob, Float) and _field(name) != "window":
        raise ValueError(f"{name}: takes a constant or a categorical or integer knob, got a float knob")
    if not isinstance(knob, (Float, Integer)):
        for choice in knob.choices:
            _parse(name, choice)
        return
    if _field(name) == "form":
        raise ValueError(f"{name}: takes a constant or a categorical knob, got a knob of type {knob.kind}")
    for value in knob.ends():
        _read(name, value, knob)


def _read(name: str, value: Value, knob: Knob) -> Any:
    """A number of a float window knob is a ratio of G; everything else is written as in a constant."""
    if not isinstance(knob, Float):
        return _parse(name, value)
    try:
        return Window(ratio=float(value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _parse(name: str, value: Any) -> Any:
    try:
        return _PARSERS[_field(name)](value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _field(name: str) -> str:
    return name.rpartition(".")[2]


def _whole(name: str) -> Callable[[Any], int]:
    return lambda value: validation.integer(name, value)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    **{name: _whole(name) for name in ("widening", "blocks", "groups", "group_width", "subgroups")},
    "form": lambda value: validation.one_of("form", value, FORMS),
    "window": parse_pattern,
}
DEFAULTS = {name: getattr(Stage(blocks=1, group_width=1), name) for name in ("window", "form", "subgroups")}
"""What a stage has in a field that its space does not set."""
STAGE_FIELDS = ("groups", "group_width", "window", "form", "subgroups")
"""What a stage of a space may set besides its blocks."""
