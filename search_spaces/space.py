"""What a search space is: knobs, and `decode` from their values to an architecture. Pure Python: no torch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from search_spaces.knobs import Categorical, Knob, Value, active
from seqconv import Architecture, validation


class SearchSpace(Protocol):
    """A set of architectures that a searcher draws from."""

    @property
    def name(self) -> str:
        """Short name, for tables."""

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The dimensions, each after those that its condition refers to."""

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """The architecture of a knob vector.

        Raises:
            ValueError: a knob missing, unknown or out of its domain, or values that make no architecture: the reason.
        """

    def to_dict(self) -> dict[str, Any]:
        """Plain data that identifies the space: equal for equal spaces."""


def sample(
    space: SearchSpace, rng: random.Random, within: Mapping[str, Sequence[Value]] | None = None
) -> dict[str, Value]:
    """A random knob vector: the active knobs alone.

    Args:
        space: where to draw.
        rng: the source of randomness.
        within: for the knobs named, the values to choose from instead of all.
    """
    values: dict[str, Value] = {}
    for knob in space.knobs:
        if active(knob, values):
            allowed = (within or {}).get(knob.name)
            values[knob.name] = knob.draw(rng) if allowed is None else rng.choice(allowed)
    return values


def every(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Each knob vector of a space without numbers that lack a step; the last knob changes fastest."""
    return _vectors(space.knobs, {})


def _vectors(knobs: Sequence[Knob], made: dict[str, Value]) -> Iterator[dict[str, Value]]:
    for i, knob in enumerate(knobs):
        if active(knob, made):
            for value in _values(knob):
                yield from _vectors(knobs[i + 1 :], {**made, knob.name: value})
            return
    yield made


def _values(knob: Knob) -> list[Value]:
    if isinstance(knob, Categorical):
        return list(knob.choices)
    return [knob.check(knob.low + i * (knob.step or 0)) for i in range(knob.count or 0)]


def size(space: SearchSpace) -> int | None:
    """Number of knob vectors, conditions respected; None where a float knob without step makes it infinite."""
    if any(knob.count is None for knob in space.knobs):
        return None
    ways: Counter[tuple[tuple[str, Value], ...]] = Counter({(): 1})
    for i, knob in enumerate(space.knobs):
        ways = _count_with(knob, ways, needed={name for later in space.knobs[i + 1 :] for name in later.when})
    return sum(ways.values())


def _count_with(
    knob: Knob, ways: Counter[tuple[tuple[str, Value], ...]], needed: set[str]
) -> Counter[tuple[tuple[str, Value], ...]]:
    """Vectors per assignment of the knobs that later conditions still ask for, `needed`, with `knob` added to them."""
    extended: Counter[tuple[tuple[str, Value], ...]] = Counter()
    for assignment, number in ways.items():
        kept = tuple((name, value) for name, value in assignment if name in needed)
        if not active(knob, dict(assignment)):
            extended[kept] += number
        elif knob.name not in needed:
            extended[kept] += number * (knob.count or 1)
        else:
            for value in knob.probes():
                extended[(*kept, (knob.name, value))] += number
    return extended


def check_knobs(knobs: Sequence[Knob]) -> None:
    """Names are unique; a condition refers to earlier knobs and to values that these can take.

    Raises:
        ValueError: starting with the knob's name.
    """
    earlier: dict[str, Knob] = {}
    later = [knob.name for knob in knobs]
    for knob in knobs:
        if knob.name in earlier:
            raise ValueError(f"{knob.name}: two knobs have this name")
        for name, allowed in knob.when.items():
            if name not in earlier:
                raise ValueError(f"{knob.name}: {_unknown_condition(name, tuple(earlier), later)}")
            _check_condition(knob, earlier[name], allowed)
        earlier[knob.name] = knob


def checked_values(knobs: Sequence[Knob], values: Mapping[str, Any]) -> dict[str, Value]:
    """The vector with each value in its knob's domain, rounding errors removed.

    Raises:
        ValueError: a knob that is missing, unknown, inactive or out of its domain.
    """
    known = {knob.name: knob for knob in knobs}
    for name in values:
        if name not in known:
            near = validation.did_you_mean(name, known)
            raise ValueError(f"unknown knob {name}{near}; knobs are {', '.join(known) or 'none'}")
    checked: dict[str, Value] = {}
    for knob in knobs:
        if active(knob, checked):
            if knob.name not in values:
                raise ValueError(f"knob {knob.name} has no value")
            checked[knob.name] = knob.check(values[knob.name])
        elif knob.name in values:
            raise ValueError(f"knob {knob.name} has a value but is active only with {_conditions(knob)}")
    return checked


def _check_condition(knob: Knob, parent: Knob, allowed: tuple[Value, ...]) -> None:
    if parent.count is None:
        raise ValueError(f"{knob.name}: a condition needs a knob with countable values; {parent.name} has no step")
    if len(parent.probes()) < (parent.count or 0):
        raise ValueError(f"{knob.name}: {parent.name} has {parent.count:,} values, too many for a condition")
    for value in allowed:
        try:
            parent.check(value)
        except ValueError as error:
            raise ValueError(f"{knob.name}: a condition that never holds: {error}") from None


def _unknown_condition(name: str, earlier: Sequence[str], all_names: Sequence[str]) -> str:
    known = f"knobs written before it are {', '.join(earlier) or 'none'}"
    if name in all_names:
        return f"its condition refers to {name}, which is written after it or is itself; {known}"
    return f"its condition refers to an unknown knob {name}{validation.did_you_mean(name, earlier)}; {known}"


def _conditions(knob: Knob) -> str:
    return " and ".join(f"{name} in {', '.join(map(str, allowed))}" for name, allowed in knob.when.items())
