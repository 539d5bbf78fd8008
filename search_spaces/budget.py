"""Bounds on what an architecture may cost, enforced before any training. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqconv import Complexity

Bound = int | float | None
Bounds = tuple[Bound, Bound]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """[min, max] per quantity, both ends included; null leaves an end, or a quantity, open.

    Raises:
        ValueError: no pair, an end that is no number or negative, or min above max.
    """

    params: Bounds | None = None
    """Trainable parameters."""
    macs: Bounds | None = None
    """Multiply-adds for one image."""
    serial_depth: Bounds | None = None
    """Convolutions on the longest chain in which each waits for the one before."""

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, _checked(f"budget.{f.name}", getattr(self, f.name)))

    def bounds(self) -> dict[str, Bounds]:
        """The quantities that have a bound, with it."""
        pairs = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: pair for name, pair in pairs.items() if pair is not None and pair != (None, None)}

    def violations(self, cost: Complexity) -> dict[str, float]:
        """Quantities out of bounds to their excess, relative to the bound that they pass; empty when within."""
        excess = {name: _excess(getattr(cost, name), *pair) for name, pair in self.bounds().items()}
        return {name: value for name, value in excess.items() if value > 0}

    def refusal(self, cost: Complexity) -> str | None:
        """Why an architecture of that cost is out of budget, in one sentence; None when it is within."""
        reasons = []
        for name in self.violations(cost):
            value, (low, high) = getattr(cost, name), self.bounds()[name]
            side, bound = ("below its minimum", low) if low is not None and value < low else ("above its maximum", high)
            reasons.append(f"{name} {value:,} is {side} {shown(bound)}")
        return " and ".join(reasons) or None


def shown(bound: Bound) -> str:
    """As a person reads it: 12,000, or null where open."""
    if bound is None:
        return "null"
    return f"{int(bound):,}" if float(bound).is_integer() else f"{bound:,}"


def _excess(value: int, low: Bound, high: Bound) -> float:
    if low is not None and value < low:
        return (low - value) / low
    if high is not None and value > high:
        return (value - high) / max(high, 1)
    return 0.0


def _checked(name: str, pair: Any) -> Bounds | None:
    if pair is None:
        return None
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise ValueError(f"{name} must be [min, max] such as [null, 300000], null where open; got {pair!r}")
    for bound in pair:
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, (int, float)) or math.isnan(bound)):
            raise ValueError(f"{name} must be two numbers, or null where open; got {bound!r} in {list(pair)}")
        if bound is not None and (bound < 0 or math.isinf(bound)):
            raise ValueError(f"{name} must be finite and at least 0, got {bound!r} in {list(pair)}")
    low, high = pair
    if low is not None and high is not None and low > high:
        raise ValueError(f"{name} is contradictory: its minimum {shown(low)} is above its maximum {shown(high)}")
    return (low, high)
