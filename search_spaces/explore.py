"""Looking through a search space by what its architectures cost, which is read off the meta device.

Extremes come from a coordinate search: from the best of a random sample, one knob after the other takes each of its
values (a number its two ends), until nothing improves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from search_spaces.knobs import Knob, Value, active
from search_spaces.space import SearchSpace, sample
from seqconv import Architecture

if TYPE_CHECKING:
    from search_spaces.budget import Budget
    from seqconv import Complexity

ATTEMPTS = 300
"""Vectors tried before a knob's value, or a whole space, counts as one that does not decode."""
PASSES = 8
"""Rounds over all knobs in a coordinate search; two or three are usual."""

Vector = dict[str, Value]
Cost = tuple[Architecture, "Complexity"]


class MeasuredSpace:
    """A space whose vectors have costs.

    Args:
        space: the space.
        resolution: image side in pixels.
        classes: number of classes.
    """

    def __init__(self, space: SearchSpace, *, resolution: int, classes: int) -> None:
        self.space, self.resolution, self.classes = space, resolution, classes

    def cost(self, vector: Vector) -> Cost:
        """The architecture of a vector, and what it costs.

        Raises:
            ValueError: a vector that does not decode.
        """
        from seqconv.complexity import measure

        architecture = self.space.decode(vector)
        # The canonical form has fewer distinct parts, and measuring a part is what takes time.
        return architecture, measure(architecture.canonical(), resolution=self.resolution, classes=self.classes)

    def excess(self, vector: Vector, budget: Budget) -> float:
        """How far out of budget, 0 within."""
        return sum(budget.violations(self.cost(vector)[1]).values())

    def sample(self, number: int, seed: int, until: Callable[[Vector], bool] = lambda _: False) -> list[Vector]:
        """So many random vectors that decode, fewer where they are rare; ends with the first that meets `until`.

        Raises:
            ValueError: none that decodes, with the reason of the last.
        """
        rng, vectors, reason = random.Random(seed), [], ""
        for _ in range(ATTEMPTS):
            try:
                vector = sample(self.space, rng)
                self.space.decode(vector)
            except ValueError as error:
                reason = str(error)
                continue
            vectors.append(vector)
            if len(vectors) == number or until(vector):
                break
        if not vectors:
            raise ValueError(f"search_space {self.space.name}: none of {ATTEMPTS} knob vectors decodes: {reason}")
        return vectors

    def extreme(self, sampled: Sequence[Vector], quantity: str, *, most: bool) -> Cost:
        """The least or the most of a quantity that a search from the best of `sampled` finds."""

        def key(vector: Vector) -> int:
            value: int = getattr(self.cost(vector)[1], quantity)
            return -value if most else value

        return self.cost(descend(self.space, min(sampled, key=key), key, lambda knob: knob.ends()))


def descend(
    space: SearchSpace, start: Vector, key: Callable[[Vector], float], values_of: Callable[[Knob], Sequence[Value]]
) -> Vector:
    """Coordinate search: the vector with the least `key` that changes of one knob after the other lead to."""
    best, least = start, key(start)
    for _ in range(PASSES):
        before = least
        for knob in space.knobs:
            for value in values_of(knob):
                moved = _moved(space, best, knob.name, value)
                if moved != best and (at := _or_infinite(key, moved)) < least:
                    best, least = moved, at
        if least == before:
            break
    return best


def _moved(space: SearchSpace, vector: Vector, name: str, value: Value) -> Vector:
    """`vector` with one knob changed, itself where that is inactive; what becomes active gets its first value."""
    if name not in vector:
        return vector
    moved: Vector = {}
    for knob in space.knobs:
        if active(knob, moved):
            moved[knob.name] = value if knob.name == name else vector.get(knob.name, knob.ends()[0])
    return moved


def _or_infinite(key: Callable[[Vector], float], vector: Vector) -> float:
    try:
        return key(vector)
    except ValueError:
        return float("inf")
