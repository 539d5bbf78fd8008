"""A database that is out of reach for a while: what was asked of it is asked again."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from searchers.study import StoreLost

FIRST, LONGEST = 0.5, 10.0
"""Seconds before the second try, and between tries at most."""


class Patient:
    """A storage of Optuna's, each call of which is tried for so long.

    A call whose answer was lost may have been heard: values are so written twice, a trial that has ended stays as it
    is, and one that was begun twice is there twice, see `Session`.

    Args:
        storage: of a database.
        seconds: after which it counts as lost, for good.
        say: told when it is waited for and when it is back.
    """

    def __init__(self, storage: BaseStorage, seconds: float, say: Callable[[str], None]) -> None:
        self._storage, self.seconds, self._say = storage, seconds, say
        self._lost = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(self.call, getattr(self._storage, name))

    def call(self, ask: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a call returns; None for a write to a trial that has ended.

        Raises:
            StoreLost: it is out of reach.
        """
        begun, pause = time.monotonic(), FIRST
        while True:
            try:
                answer = ask(*args, **kwargs)
                break
            except UpdateFinishedTrialError:
                answer = None
                break
            except (SQLAlchemyError, StorageInternalError) as error:
                reason = why(error)
                if self._lost or not _passes(error) or time.monotonic() - begun >= self.seconds:
                    self._lost = True
                    raise StoreLost(f"the store cannot be used: {reason}") from None
            if pause == FIRST:
                self._say(f"the store cannot be used, trying again for {self.seconds:g} s: {reason}")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)
        if pause > FIRST:
            self._say("the store is back")
        return answer


def why(error: BaseException) -> str:
    """What the database said, in one line."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    said = str(getattr(cause, "orig", None) or cause or error)
    return " ".join(said.split()) or type(error).__name__


def _passes(error: BaseException) -> bool:
    """Whether it may be otherwise next time: no connection, a server that starts or is full, a deadlock."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, (InterfaceError, OperationalError))
