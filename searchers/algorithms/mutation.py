"""Small changes of a knob vector that know what the knobs mean.

A knob with an order goes one step up or down, a number of groups doubles or halves, any other one takes another value,
and a block moves from one stage to another. A step that makes no other architecture, or one that may not be trained, is
followed by the next in the same direction: the window of two groups has more steps than it has widths. A knob that
becomes active with a change gets a value, one that becomes inactive loses its own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from search_spaces.knobs import Categorical, Float, Integer, Knob, Value, active, ordered
from search_spaces.space import SearchSpace
from searchers.algorithms.random import python_random
from searchers.searcher import Problem

Vector = dict[str, Value]
Change = Mapping[str, Value]
Direction = Callable[[], Iterator[Change]]
"""Changes in one direction, the smallest first."""
Fill = Callable[[Knob, int], Sequence[Value]]
"""(a knob that becomes active, how many) -> at most so many values for it, at least one."""

REACH = 16
"""Steps in one direction after which it counts as one that leads nowhere."""
FILLED = 16
"""Neighbours at most that differ only in knobs that became active."""
SHARES = (0.1, 0.01)
"""Distances of the neighbours of a number without steps, as shares of its range."""
_BLOCKS = re.compile(r"stage\d+\.blocks")
_DOUBLING = re.compile(r"(.*\.)?(groups|group_width|subgroups)")


def mutate(problem: Problem, values: Mapping[str, Value], generator: np.random.Generator) -> Vector | None:
    """A random admissible vector of another architecture, one change away; None where there is none.

    Each active knob is as likely to change as the other, whatever the number of its values; moving a block counts as
    one more knob.
    """
    rng = python_random(generator)
    own = problem.candidate(values)
    kinds = _kinds(problem.space, values, [abs(rng.gauss(0, SHARES[0]))])
    for kind in rng.sample(kinds, len(kinds)):
        for direction in rng.sample(kind, len(kind)):
            found = _follow(problem, values, own, direction, lambda knob, _: (knob.draw(rng),))
            if found:
                return next(iter(found.values()))
    return None


def neighbours(problem: Problem, values: Mapping[str, Value]) -> list[Vector]:
    """Every admissible vector of another architecture that is one change away, one vector an architecture.

    Where a change makes other knobs active, there is one for each of their values, or for some that are spread evenly.
    """
    found: dict[str, Vector] = {}
    for direction in directions(problem.space, values):
        for fingerprint, vector in along(problem, values, direction).items():
            found.setdefault(fingerprint, vector)
    return list(found.values())


def steps(space: SearchSpace, values: Mapping[str, Value]) -> list[Change]:
    """The first change in every direction, before anybody has looked at the architectures that they make."""
    return [change for direction in directions(space, values) for change in itertools.islice(direction(), 1)]


def changed(space: SearchSpace, values: Mapping[str, Value], change: Change) -> Vector:
    """The vector with a change, or several in one; knobs that become active get the value in their middle."""
    return next(_changed(space.knobs, {**values, **change}, _spread, {}, 1))


def directions(space: SearchSpace, values: Mapping[str, Value]) -> list[Direction]:
    """The directions to all neighbours, to look along one by one where judging an architecture is dear."""
    return list(itertools.chain.from_iterable(_kinds(space, values, SHARES)))


def along(problem: Problem, values: Mapping[str, Value], direction: Direction) -> dict[str, Vector]:
    """The neighbours in one direction, by fingerprint: none, one, or some where knobs become active."""
    return _follow(problem, values, problem.candidate(values), direction, _spread)


def _follow(
    problem: Problem, values: Mapping[str, Value], own: str | None, direction: Direction, fill: Fill
) -> dict[str, Vector]:
    """What the first change makes that leads to other architectures, by fingerprint."""
    for change in itertools.islice(direction(), REACH):
        found: dict[str, Vector] = {}
        for vector in _changed(problem.space.knobs, {**values, **change}, fill, {}, FILLED):
            fingerprint = problem.candidate(vector)
            if fingerprint is not None and fingerprint != own:
                found.setdefault(fingerprint, vector)
        if found:
            return found
    return {}


def _changed(knobs: Sequence[Knob], values: Change, fill: Fill, made: Vector, room: int) -> Iterator[Vector]:
    """`made` with the rest of the knobs, in at most `room` ways."""
    for i, knob in enumerate(knobs):
        if not active(knob, made):
            continue
        if knob.name in values:
            made[knob.name] = values[knob.name]
            continue
        options = fill(knob, room)
        for value in options:
            yield from _changed(knobs[i + 1 :], values, fill, {**made, knob.name: value}, room // len(options))
        return
    yield made


def _spread(knob: Knob, room: int) -> Sequence[Value]:
    """All values of a knob, or as many as there is room for; a lone one is the one in the middle."""
    values = knob.probes()
    count = min(len(values), max(room, 1))
    return [values[(2 * i + 1) * len(values) // (2 * count)] for i in range(count)]


def _kinds(space: SearchSpace, values: Mapping[str, Value], shares: Sequence[float]) -> list[list[Direction]]:
    """The directions of each knob, and those in which a block moves."""
    own = [knob for knob in space.knobs if knob.name in values]
    kinds = [_directions(knob, values[knob.name], shares) for knob in own]
    blocks = [knob for knob in own if _BLOCKS.fullmatch(knob.name) and ordered(knob)]
    moves = [_move(up, down, values) for up, down in itertools.permutations(blocks, 2)]
    return [kind for kind in (*kinds, moves) if kind]


def _directions(knob: Knob, value: Value, shares: Sequence[float]) -> list[Direction]:
    if not ordered(knob):
        return [_only({knob.name: other}) for other in knob.probes() if other != value]
    if isinstance(knob, Float) and knob.count is None:
        return [_walk(knob, value, sign * share) for share in shares for sign in (1, -1)]
    return [_walk(knob, value, sign) for sign in (1, -1)]


def _move(up: Knob, down: Knob, values: Mapping[str, Value]) -> Direction:
    """One block more in a stage and one less in another."""
    pairs = zip(_steps(up, values[up.name], 1), _steps(down, values[down.name], -1), strict=False)
    return _only(*({up.name: more, down.name: less} for more, less in itertools.islice(pairs, 1)))


def _only(*changes: Change) -> Direction:
    return lambda: iter(changes)


def _walk(knob: Knob, value: Value, step: float) -> Direction:
    return lambda: ({knob.name: at} for at in _steps(knob, value, step))


def _steps(knob: Knob, value: Value, step: float) -> Iterator[Value]:
    """The values of an ordered knob from `value` on.

    Args:
        knob: the knob.
        value: where to begin; it is left out.
        step: 1 upwards and -1 downwards, and for a number without steps the share of its range.
    """
    if isinstance(knob, Categorical):
        ordered = sorted(knob.choices, key=float)
        place = ordered.index(knob.check(value))
        yield from ordered[place + 1 :] if step > 0 else reversed(ordered[:place])
        return
    at = float(value)
    while (ahead := min(max(_next(knob, at, step), knob.low), knob.high)) != at:
        at = float(knob.check(ahead if isinstance(knob, Float) else round(ahead)))
        yield at if isinstance(knob, Float) else int(at)


def _next(knob: Integer | Float, at: float, step: float) -> float:
    if isinstance(knob, Float) and knob.step is None:
        return at * (knob.high / knob.low) ** step if knob.log else at + step * (knob.high - knob.low)
    if isinstance(knob, Integer) and (knob.log or (knob.step == 1 and _DOUBLING.fullmatch(knob.name))):
        return at * 2**step
    assert knob.step is not None
    return at + step * knob.step
