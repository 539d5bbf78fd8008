"""A setting of a trial that may grow: one value, or values by the epoch from which on they hold. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from seqconv import validation

T = TypeVar("T", int, float)


def checked(name: str, setting: Any, check: Callable[[str, Any], T], epochs: int | None) -> T | dict[int, T]:
    """The setting with every value checked, and a mapping of one level as that value.

    Args:
        name: of the setting, for errors.
        setting: a value, or values by the epoch from which on they hold. An epoch may be text, as JSON has it.
        check: of one value: (name, value) -> the value to keep.
        epochs: of a trial, where it is known.

    Raises:
        ValueError: naming the setting, and what is allowed.
    """
    if not isinstance(setting, Mapping):
        return check(name, setting)
    levels = {_epoch(name, key): check(f"{name} from epoch {key} on", value) for key, value in setting.items()}
    if next(iter(levels), None) != 1:
        raise ValueError(f"{name} must say what holds from epoch 1 on, got {setting!r}: begin with 1")
    for what, numbers in (("epochs", list(levels)), ("values", list(levels.values()))):
        if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
            raise ValueError(f"{name}: {what} must rise from level to level, got {setting!r}")
    if epochs is not None and max(levels) > epochs:
        raise ValueError(f"{name} has a level from epoch {max(levels)} on, and a trial has {epochs} epochs")
    return levels if len(levels) > 1 else levels[1]


def at(setting: T | Mapping[int, T], epoch: int) -> T:
    """The value in an epoch, from 1."""
    if not isinstance(setting, Mapping):
        return setting
    return setting[max(first for first in setting if first <= epoch)]


def values(setting: T | Mapping[int, T]) -> list[T]:
    """Every value that it has, the lowest first."""
    return list(setting.values()) if isinstance(setting, Mapping) else [setting]


def _epoch(name: str, key: Any) -> int:
    epoch = int(key) if isinstance(key, str) and key.isdecimal() else key
    return validation.integer(f"{name}: the epoch of a level", epoch)
