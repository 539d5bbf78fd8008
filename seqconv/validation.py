"""Checks of configuration values: each returns the value or says what is allowed."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def integer(name: str, value: Any, *, low: int = 1, high: int | None = None) -> int:
    """An int in [low, high]; bool and float are refused.

    Raises:
        ValueError: naming the field, the value and the allowed range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be an integer {allowed}, got {value!r}")
    return value


def number(name: str, value: Any, *, low: float, high: float = math.inf, open_low: bool = False) -> float:
    """A finite float in [low, high], or in (low, high] with `open_low`; ints pass and come back as float.

    Raises:
        ValueError: naming the field, the value and the allowed range.
    """
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not valid or value < low or value > high or (open_low and value == low):
        above = f"above {low:g}" if open_low else f"at least {low:g}"
        allowed = above if high == math.inf else f"{above} and at most {high:g}"
        raise ValueError(f"{name} must be a number {allowed}, got {value!r}")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """True or False, nothing that merely behaves like one."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def one_of(name: str, value: Any, known: Iterable[Any]) -> Any:
    """A member of `known`; a near miss is named in the error."""
    known = tuple(known)
    if value not in known:
        near = did_you_mean(value, known)
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}{near}")
    return value


def exact_keys(where: str, data: Any, required: Iterable[str], optional: Iterable[str] = ()) -> Mapping[str, Any]:
    """A mapping that has every required key and none beyond the optional ones.

    Raises:
        ValueError: naming where, the unknown or missing key and the allowed keys.
    """
    required = tuple(required)
    allowed = (*required, *optional)
    for key in has_keys(where, data, ()):
        if key not in allowed:
            near = did_you_mean(key, allowed)
            raise ValueError(f"{where}: unknown key {key!r}{near}; allowed are {', '.join(allowed)}")
    return has_keys(where, data, required)


def has_keys(where: str, data: Any, required: Sequence[str]) -> Mapping[str, Any]:
    """A mapping that has every required key; it may have others.

    Raises:
        ValueError: naming where, the missing key and the required keys.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be a mapping, got {data!r}")
    for key in required:
        if key not in data:
            raise ValueError(f"{where}: missing key {key!r}; required are {', '.join(required)}")
    return data


def did_you_mean(value: Any, known: Iterable[Any]) -> str:
    """A hint such as ' (did you mean window?)', or nothing where no name is near."""
    near = difflib.get_close_matches(str(value), [str(k) for k in known], n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
