"""What a search space holds, told before any training: its size, its extremes, and what does not fit."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces.budget import Bounds, Budget, shown
from search_spaces.explore import ATTEMPTS, Cost, MeasuredSpace, Vector, descend
from search_spaces.knobs import Knob, Value
from search_spaces.space import SearchSpace, sample, size

SAMPLE = 31
"""Vectors of which `middle` is the median, and with which a search for extremes starts."""
ROUNDS = 8
"""Samples from which a way into a budget is looked for."""
VALUES = 16
"""Values of a knob that the way into a budget tries, evenly spread."""


@dataclass(frozen=True, kw_only=True)
class SpaceSummary:
    """A space in figures."""

    name: str
    """The space's name."""
    size: int | None
    """Number of knob vectors; None if infinite."""
    smallest: Cost
    """Fewest parameters found."""
    middle: Cost
    """Median by parameters of a random sample."""
    largest: Cost
    """Most parameters found."""

    def lines(self) -> list[str]:
        """For a person: the size, then a line per architecture."""
        if self.size == 1:
            return [f"{self.name}: one architecture", _row("", self.smallest)]
        number = "infinitely many" if self.size is None else f"{self.size:,}"
        rows = ("smallest", self.smallest), ("middle", self.middle), ("largest", self.largest)
        return [f"{self.name}: {number} knob vectors", *(_row(label, cost) for label, cost in rows)]


def summarize(space: SearchSpace, *, resolution: int, classes: int, seed: int = 0) -> SpaceSummary:
    """Size, smallest, middle and largest architecture by parameters.

    Raises:
        ValueError: no vector found that decodes, with the reason of the last.
    """
    measured = MeasuredSpace(space, resolution=resolution, classes=classes)
    sampled = sorted(measured.sample(SAMPLE, seed), key=lambda vector: measured.cost(vector)[1].params)
    return SpaceSummary(
        name=space.name,
        size=size(space),
        smallest=measured.extreme(sampled, "params", most=False),
        middle=measured.cost(sampled[len(sampled) // 2]),
        largest=measured.extreme(sampled, "params", most=True),
    )


def check_space(space: SearchSpace) -> None:
    """Every value of every knob decodes in at least one vector.

    Numbers without a step are tried at both ends and in the middle, more than `knobs.PROBES` values at an even spread.

    Raises:
        ValueError: naming the knob, the value and the reason.
    """
    rng = random.Random(0)
    seen: set[tuple[str, Value]] = set()
    if not space.knobs:
        space.decode({})
    for knob in space.knobs:
        domains = _domains_with(space, knob)
        for value in knob.probes():
            if (knob.name, value) not in seen:
                vector = _decoding_vector(space, {**domains, knob.name: (value,)}, rng, knob, value)
                seen.update(vector.items())


def check_budget(space: SearchSpace, budget: Budget, *, resolution: int, classes: int) -> None:
    """An architecture within the budget can be found.

    Raises:
        ValueError: stating the space's smallest and largest of every bounded quantity.
    """
    bounds = budget.bounds()
    if not bounds:
        return
    measured = MeasuredSpace(space, resolution=resolution, classes=classes)
    sampled = measured.sample(SAMPLE, seed=0, until=lambda vector: not measured.excess(vector, budget))
    if not measured.excess(sampled[-1], budget):
        return
    ranges = {name: _range(measured, sampled, name) for name in bounds}
    outside = [text for name, pair in bounds.items() if (text := _outside(name, pair, *ranges[name]))]
    if outside:
        raise ValueError("; ".join(outside))
    nearest = _nearest(measured, sampled, budget)
    if measured.excess(nearest, budget):
        _, cost = measured.cost(nearest)
        asked = " and ".join(f"budget.{name} {_interval(pair)}" for name, pair in bounds.items())
        spans = ", ".join(_span(name, *ends) for name, ends in ranges.items())
        raise ValueError(
            f"no architecture found within {asked}: at the nearest, {budget.refusal(cost)}; in this space {spans}: "
            f"widen the budget or the space"
        )


def _range(measured: MeasuredSpace, sampled: Sequence[Vector], quantity: str) -> tuple[int, int]:
    """The smallest and the largest of a quantity in the space."""
    least, most = (measured.extreme(sampled, quantity, most=most)[1] for most in (False, True))
    return getattr(least, quantity), getattr(most, quantity)


def _nearest(measured: MeasuredSpace, sampled: Sequence[Vector], budget: Budget) -> Vector:
    """A vector within the budget, or the one nearest to it that was found."""

    def excess(vector: Vector) -> float:
        return measured.excess(vector, budget)

    found = []
    for seed in range(1, ROUNDS + 1):
        found.append(descend(measured.space, min(sampled, key=excess), excess, _some_values))
        if not excess(found[-1]):
            break
        sampled = measured.sample(SAMPLE, seed)
    return min(found, key=excess)


def _some_values(knob: Knob) -> Sequence[Value]:
    probes = knob.probes()
    last = len(probes) - 1
    return probes if last < VALUES else [probes[i * last // (VALUES - 1)] for i in range(VALUES)]


def _outside(name: str, pair: Bounds, smallest: int, largest: int) -> str | None:
    low, high = pair
    if high is not None and high < smallest:
        side = "below"
    elif low is not None and low > largest:
        side = "above"
    else:
        return None
    return f"budget.{name} {_interval(pair)} is {side} everything in the space: {_span(name, smallest, largest)}"


def _span(name: str, smallest: int, largest: int) -> str:
    return f"{name} {'goes' if name == 'serial_depth' else 'go'} from {smallest:,} to {largest:,}"


def _interval(pair: Bounds) -> str:
    return f"[{shown(pair[0])}, {shown(pair[1])}]"


def _domains_with(space: SearchSpace, knob: Knob) -> dict[str, tuple[Value, ...]]:
    """The values of other knobs with which `knob` is active."""
    knobs = {k.name: k for k in space.knobs}
    domains: dict[str, tuple[Value, ...]] = {}
    pending = [knob]
    while pending:
        for name, allowed in pending.pop().when.items():
            checked = [knobs[name].check(value) for value in allowed]
            domains[name] = tuple(v for v in checked if v in domains.get(name, checked))
            if not domains[name]:
                reason = f"its conditions leave no value of {name}"
                raise ValueError(f"search_space {space.name}: knob {knob.name} is never active: {reason}")
            pending.append(knobs[name])
    return domains


def _decoding_vector(
    space: SearchSpace, within: Mapping[str, tuple[Value, ...]], rng: random.Random, knob: Knob, value: Value
) -> Vector:
    """A vector that decodes, with `value` of `knob`."""
    reason = ""
    for _ in range(ATTEMPTS):
        vector = sample(space, rng, within)
        try:
            space.decode(vector)
        except ValueError as error:
            reason = str(error)
        else:
            return vector
    raise ValueError(
        f"search_space {space.name}: no architecture has {knob.name} = {value} ({ATTEMPTS} vectors tried): {reason}"
    )


def _row(label: str, cost: Cost) -> str:
    architecture, complexity = cost
    return (
        f"  {label:<8} {complexity.params:>11,} params {complexity.macs:>13,} MACs "
        f"{complexity.serial_depth:>5} serial depth  {architecture.describe()}"
    )
