"""What a lost store does to a search: it ends, through no fault of its trials."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from searchers.study import StoreLost


class Halts(Protocol):
    """Something that has a store."""

    lost: bool
    """Whether nothing more is told it."""

    def halt(self, reason: str) -> None:
        """Start nothing more and end what runs."""


S = TypeVar("S", bound=Halts)
P = ParamSpec("P")
T = TypeVar("T")


def halting(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T | None]:
    """A method that halts instead of raising `StoreLost`, and returns None then."""

    @functools.wraps(method)
    def guarded(self: S, /, *args: Any, **kwargs: Any) -> T | None:
        try:
            return method(self, *args, **kwargs)
        except StoreLost as error:
            self.lost = True
            self.halt(str(error))
            return None

    return guarded
