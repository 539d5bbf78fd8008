"""From an architecture back to the knob values that make it, where a space has such: the inverse of `decode`.

Values are found knob by knob, from what the architecture says of the field that the knob sets; no space is looked
through. Of several values that make the same network, as windows beyond all groups do, the nearest is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from search_spaces.genes import DEFAULTS, Gene
from search_spaces.knobs import Categorical, Float, Knob, Value, active
from search_spaces.space import SearchSpace
from search_spaces.staged import StagedSpace
from seqconv import Architecture, Window
from seqconv.aggregation import Pattern


def encode(space: SearchSpace, architecture: Architecture) -> dict[str, Value]:
    """A knob vector that decodes to the same network.

    Raises:
        ValueError: a space that has no such vector, naming the field that does not fit, or one whose knobs cannot be
            read off an architecture.
    """
    values: dict[str, Value] = {}
    if isinstance(space, StagedSpace):
        _check_shape(space, architecture)
        for gene in (*_implied(space), *space.genes.values()):
            _set(gene, architecture, values)
    elif space.knobs:
        raise ValueError("its knobs cannot be read off an architecture: those of a space of stages can")
    if space.decode(values).fingerprint() != architecture.fingerprint():
        raise ValueError(f"the space is of another network: {space.decode(values).describe()}")
    return values


def _check_shape(space: StagedSpace, architecture: Architecture) -> None:
    here = architecture.canonical().pyramid
    there = tuple(p // math.gcd(*space.pyramid) for p in space.pyramid)
    if architecture.family != space.family:
        raise ValueError(f"family is {architecture.family}, and the space has {space.family}")
    if here != there:
        raise ValueError(f"pyramid is {list(here)}, and the space has {list(there)}")


def _implied(space: StagedSpace) -> list[Gene]:
    """The fields that the stages of a space do not mention."""
    stages = range(1, len(space.pyramid) + 1)
    every = {f"stage{number}.{field}": value for number in stages for field, value in DEFAULTS.items()}
    return [Gene(name=name, constant=value) for name, value in every.items() if name not in space.genes]


def _set(gene: Gene, architecture: Architecture, values: dict[str, Value]) -> None:
    """Add the value of a gene's knob, where it has one that is active; otherwise its constant has to fit."""
    if gene.knob is None or not active(gene.knob, values):
        if not _fits(gene, gene.constant, architecture):
            raise ValueError(f"{_told(gene, architecture)}, and the space has {gene.constant}")
        return
    for value in _candidates(gene.knob, _number(gene, architecture)):
        if _fits(gene, gene.value({gene.knob.name: value}), architecture):
            values[gene.knob.name] = value
            return
    raise ValueError(f"{_told(gene, architecture)}, and the space has {_domain(gene.knob)}")


def _fits(gene: Gene, wanted: Any, architecture: Architecture) -> bool:
    """Whether an architecture has a value in a field; windows are compared by what they read."""
    found = _field(gene, architecture)
    if not isinstance(wanted, Pattern) or found == wanted:
        return bool(found == wanted)
    number = _stage(gene)
    stages = list(architecture.stages)
    stages[number] = replace(stages[number], window=wanted)
    try:
        return replace(architecture, stages=tuple(stages)).fingerprint() == architecture.fingerprint()
    except ValueError:  # a pattern that is not defined for these groups
        return False


def _candidates(knob: Knob, number: float | None) -> Iterator[Value]:
    """The values next to a number, of a knob that has numbers; else all."""
    if isinstance(knob, Categorical):
        yield from knob.choices
    elif number is not None:
        at = min(max(number, knob.low), knob.high)
        if knob.step is None:
            yield knob.check(at)
            return
        steps = (at - knob.low) / knob.step
        for step in dict.fromkeys((round(steps), math.floor(steps), math.ceil(steps))):
            if 0 <= step < (knob.count or 0):
                yield knob.check(knob.low + step * knob.step)


def _number(gene: Gene, architecture: Architecture) -> float | None:
    """What a field is as a number, in the units of its knob; infinite for a dense window, None for other patterns."""
    found = _field(gene, architecture)
    if not isinstance(found, Pattern):
        return found if isinstance(found, (int, float)) else None
    as_ratio = isinstance(gene.knob, Float)
    number = _stage(gene)
    if as_ratio and isinstance(found, Window) and found.ratio is not None:
        return found.ratio
    plain = architecture.canonical().stages[number].window
    if not isinstance(plain, Window):
        return None
    width = math.inf if plain.groups is None else plain.groups
    return width / architecture.groups[number] if as_ratio else width


def _field(gene: Gene, architecture: Architecture) -> Any:
    """What an architecture has where a gene stands."""
    field = gene.name.rpartition(".")[2]
    if field == "widening":
        return architecture.widening
    return architecture.groups[_stage(gene)] if field == "groups" else getattr(architecture.stages[_stage(gene)], field)


def _stage(gene: Gene) -> int:
    """Its stage, from 0."""
    return int(gene.name.partition(".")[0].removeprefix("stage")) - 1


def _told(gene: Gene, architecture: Architecture) -> str:
    return f"{gene.name} is {_field(gene, architecture)}"


def _domain(knob: Knob) -> str:
    if isinstance(knob, Categorical):
        return " or ".join(map(str, knob.choices))
    unit = " G" if isinstance(knob, Float) else ""
    steps = "" if knob.step in (None, 1) else f" in steps of {knob.step:g}"
    return f"{knob.low:g} to {knob.high:g}{unit}{steps}"
