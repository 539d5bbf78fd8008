"""The typed dimensions of a search space. Pure Python: no torch.

A knob may depend on earlier ones: `when={"stage1.form": ("bottleneck",)}` makes it active, and so part of a knob
vector, only where each knob named there has one of the values listed.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, ClassVar

from seqconv import validation

Value = bool | int | float | str
PROBES = 256
"""At most so many values of an integer or float knob are tried where all of them are meant."""
MOST = 10**15
"""Values that a knob has, and the largest integer among them; arithmetic is exact up to there."""


@dataclass(frozen=True, kw_only=True)
class _Knob:
    """What every knob has."""

    name: str
    """Unique in its space, such as stage1.window."""
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict, hash=False)
    """Earlier knobs' names to the values with which this one is active; empty: always active."""

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        text("a knob's name", self.name)
        if not isinstance(self.when, Mapping):
            raise ValueError(f"{self.name}: when must map knob names to lists of values, got {self.when!r}")
        when = {earlier: _listed(f"{self.name}: when.{earlier}", allowed) for earlier, allowed in self.when.items()}
        object.__setattr__(self, "when", when)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that identifies the knob."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("name", "when")}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}
        when = {"when": {k: list(v) for k, v in self.when.items()}} if self.when else {}
        return {"name": self.name, "type": self.kind, **plain, **when}


@dataclass(frozen=True, kw_only=True)
class Categorical(_Knob):
    """One of several values without an order.

    Raises:
        ValueError: no choices, a choice that is no plain value, or the same choice twice.
    """

    choices: tuple[Value, ...]
    """The values."""

    kind: ClassVar[str] = "categorical"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "choices", _listed(f"{self.name}: choices", self.choices))

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.choices)

    def probes(self) -> tuple[Value, ...]:
        """Every choice."""
        return self.choices

    def ends(self) -> tuple[Value, ...]:
        """Every choice: without an order, any of them may be an extreme."""
        return self.choices

    def draw(self, rng: random.Random) -> Value:
        """A choice, each as likely as the other."""
        return rng.choice(self.choices)

    def check(self, value: Any) -> Value:
        """The choice that equals `value`.

        Raises:
            ValueError: no such choice, with the choices.
        """
        for choice in self.choices:
            if same(choice, value):
                return choice
        known = ", ".join(map(str, self.choices))
        near = validation.did_you_mean(value, self.choices)
        raise ValueError(f"knob {self.name} must be one of {known}, got {value!r}{near}")


@dataclass(frozen=True, kw_only=True)
class Integer(_Knob):
    """An integer in [low, high].

    Raises:
        ValueError: bounds that are no integers or in the wrong order, or a step that does not lead from low to high.
    """

    low: int
    """Smallest value."""
    high: int
    """Largest value."""
    step: int = 1
    """Distance between values."""
    log: bool = False
    """Drawn uniformly in the logarithm."""

    kind: ClassVar[str] = "integer"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"{self.name}: {name} must be an integer, got {value!r}")
            if abs(value) > MOST:
                raise ValueError(f"{self.name}: {name} must be from {-MOST:g} to {MOST:g}, got {value!r}")
        _check_range(self)
        if self.log and self.step != 1:
            raise ValueError(f"{self.name}: log takes no step, got step {self.step}")

    @property
    def count(self) -> int:
        """Number of values."""
        return (self.high - self.low) // self.step + 1

    def probes(self) -> tuple[Value, ...]:
        """Every value; evenly spread ones with both ends where there are more than `PROBES`."""
        return tuple(self.low + i * self.step for i in _spread(self.count))

    def ends(self) -> tuple[Value, ...]:
        """The smallest and the largest value."""
        return (self.low, self.high)

    def draw(self, rng: random.Random) -> Value:
        """A value, each as likely as the other, or uniform in the logarithm."""
        if not self.log:
            return self.low + rng.randrange(self.count) * self.step
        drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), self.low), self.high)

    def check(self, value: Any) -> Value:
        """`value` itself.

        Raises:
            ValueError: no integer, out of range or between two steps.
        """
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not self.low <= value <= self.high or (value - self.low) % self.step:
            steps = f" in steps of {self.step}" if self.step > 1 else ""
            allowed = f"an integer from {self.low} to {self.high}{steps}"
            raise ValueError(f"knob {self.name} must be {allowed}, got {value!r}")
        return int(value)


@dataclass(frozen=True, kw_only=True)
class Float(_Knob):
    """A number in [low, high].

    Raises:
        ValueError: bounds that are no numbers or in the wrong order, or a step that does not lead from low to high.
    """

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    step: float | None = None
    """Distance between values; null: any number in between."""
    log: bool = False
    """Drawn uniformly in the logarithm."""

    kind: ClassVar[str] = "float"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high", *(() if self.step is None else ("step",))):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
                raise ValueError(f"{self.name}: {name} must be a finite number, got {value!r}")
            object.__setattr__(self, name, float(value))
        _check_range(self)
        if self.log and self.step is not None:
            raise ValueError(f"{self.name}: log takes no step, got step {self.step}")

    @property
    def count(self) -> int | None:
        """Number of values; None without a step."""
        if self.step is None:
            return 1 if self.low == self.high else None
        return int((_decimal(self.high) - _decimal(self.low)) / _decimal(self.step)) + 1

    def probes(self) -> tuple[Value, ...]:
        """Every value, at most `PROBES` evenly spread ones; without a step both ends and the middle."""
        if self.count is not None:
            return tuple(self._at(i) for i in _spread(self.count))
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return (self.low, middle, self.high)

    def ends(self) -> tuple[Value, ...]:
        """The smallest and the largest value."""
        return (self.low, self.high)

    def draw(self, rng: random.Random) -> Value:
        """A value, each as likely as the other, or uniform in the logarithm."""
        if self.count is not None:
            return self._at(rng.randrange(self.count))
        if not self.log:
            return rng.uniform(self.low, self.high)
        return min(max(math.exp(rng.uniform(math.log(self.low), math.log(self.high))), self.low), self.high)

    def check(self, value: Any) -> Value:
        """`value` as a float, with rounding errors of a multiple of the step removed.

        Raises:
            ValueError: no number, out of range or between two steps.
        """
        if isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value):
            at = float(value) if self.step is None else self._nearest(value)
            if self.low <= at <= self.high and math.isclose(at, value, rel_tol=1e-9, abs_tol=1e-12):
                return at
        steps = "" if self.step is None else f" in steps of {self.step:g}"
        raise ValueError(f"knob {self.name} must be a number from {self.low:g} to {self.high:g}{steps}, got {value!r}")

    def _at(self, index: int) -> float:
        """In decimal arithmetic, so that three steps of 0.1 are 0.3."""
        return self.low if self.step is None else float(_decimal(self.low) + index * _decimal(self.step))

    def _nearest(self, value: float) -> float:
        assert self.step is not None
        return self._at(round((value - self.low) / self.step))


Knob = Categorical | Integer | Float
KINDS: dict[str, type[Categorical] | type[Integer] | type[Float]] = {k.kind: k for k in (Categorical, Integer, Float)}


def from_plain(name: str, data: Mapping[str, Any]) -> Knob:
    """The knob that a mapping such as `{type: integer, low: 1, high: 4}` describes.

    Raises:
        ValueError: starting with `name`: an unknown type, an unknown or missing key, or a value that is not allowed.
    """
    if "type" not in data:
        raise ValueError(f"{name}: a knob needs a type, one of {', '.join(KINDS)}; got {dict(data)}")
    kind = KINDS[validation.one_of(f"{name}: type", data["type"], KINDS)]
    own = {k: v for k, v in data.items() if k != "type"}
    known = [f.name for f in fields(kind) if f.name != "name"]
    optional = ("step", "log", "when")
    validation.exact_keys(name, own, [k for k in known if k not in optional], [k for k in optional if k in known])
    return kind(name=name, **own)


def active(knob: Knob, values: Mapping[str, Value]) -> bool:
    """Whether the values of earlier knobs meet every condition of `knob`; a knob without a value meets none."""
    if not knob.when:
        return True
    return all(
        earlier in values and any(same(a, values[earlier]) for a in allowed) for earlier, allowed in knob.when.items()
    )


def ordered(knob: Knob) -> bool:
    """Whether the values of a knob have an order: all numbers do, and choices that are numbers."""
    if not isinstance(knob, Categorical):
        return True
    return all(isinstance(choice, (int, float)) and not isinstance(choice, bool) for choice in knob.choices)


def text(where: str, value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where} must be a text that is not empty, got {value!r}")
    return value


def same(a: Any, b: Any) -> bool:
    """Equal as knob values: true is not 1, and a float may carry a rounding error."""
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return bool(a == b)


def _listed(where: str, values: Any) -> tuple[Value, ...]:
    if not isinstance(values, (list, tuple)) or not values:
        raise ValueError(f"{where} must be a list with at least one value, got {values!r}")
    for i, value in enumerate(values):
        if not isinstance(value, (bool, int, float, str)) or (not isinstance(value, str) and not _finite(value)):
            raise ValueError(f"{where} must be texts, finite numbers, true or false, got {value!r}")
        if any(same(value, earlier) for earlier in values[:i]):
            raise ValueError(f"{where} has {value!r} twice")
    return tuple(values)


def _check_range(knob: Integer | Float) -> None:
    validation.boolean(f"{knob.name}: log", knob.log)
    if knob.low > knob.high:
        raise ValueError(f"{knob.name}: low {knob.low} is above high {knob.high}")
    if knob.log and knob.low <= 0:
        raise ValueError(f"{knob.name}: log needs low above 0, got {knob.low}")
    if knob.step is None:
        return
    if knob.step <= 0:
        raise ValueError(f"{knob.name}: step must be above 0, got {knob.step}")
    low, high, step = _decimal(knob.low), _decimal(knob.high), _decimal(knob.step)
    if (high - low) / step > MOST:
        raise ValueError(f"{knob.name}: steps of {knob.step} from low {low} to high {high} are more than {MOST:g}")
    if (high - low) % step:
        last = low + (high - low) // step * step
        raise ValueError(
            f"{knob.name}: steps of {knob.step} from low {knob.low} do not reach high {knob.high}; "
            f"the nearest are {last} and {last + step}"
        )


def _finite(value: float) -> bool:
    """Whether a float holds it, which of an integer of 400 digits `math.isfinite` does not say."""
    return abs(value) <= sys.float_info.max


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def _spread(count: int) -> list[int]:
    """All of 0 .. count - 1, or `PROBES` of them."""
    if count <= PROBES:
        return list(range(count))
    return [i * (count - 1) // (PROBES - 1) for i in range(PROBES)]
