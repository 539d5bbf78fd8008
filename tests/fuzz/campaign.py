"""Runs a target on many inputs and counts what became of them: nothing but a result or a refusal may."""

from __future__ import annotations

import faulthandler
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

PATIENCE = 5.0
"""Seconds of the processor after which an input counts as one that hangs."""
_GIVEN_UP = 120.0
"""Seconds after which the process is ended, because it sleeps or the signal does not get through."""


class Hang(BaseException):
    """An input took too long. No part of the product catches it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What reads input that others may have written.

    `prepare` is given an empty folder and returns what takes an input, which says by its result whether it was accepted
    and raises whatever is not a refusal.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    prepare: Callable[[Path], Callable[[Any], bool]]
    share: float
    """Of the inputs of all targets."""


@dataclass(kw_only=True)
class Tally:
    """What became of the inputs of a target."""

    target: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    """Seconds of the processor that the longest took."""
    seconds: float = 0.0
    crashes: dict[str, list[Any]] = field(default_factory=dict)
    """By where it happened, the inputs and the traceback of the first."""

    @property
    def crashed(self) -> int:
        return sum(len(found) - 1 for found in self.crashes.values())

    def row(self) -> dict[str, Any]:
        """Of the table."""
        return {"target": self.target, "inputs": self.inputs, "accepted": self.accepted, "refused": self.refused,
                "crashes": self.crashed, "slowest_s": round(self.slowest, 2),
                "seconds": round(self.seconds, 1)}  # fmt: skip


def run(target: Target, inputs: int, start: int) -> Tally:
    """So many inputs of the target, the same for the same `start`."""
    tally = Tally(target=target.name)
    previous = signal.signal(signal.SIGPROF, _hang)
    with tempfile.TemporaryDirectory(prefix="seqconv-fuzz-") as scratch:
        take = target.prepare(Path(scratch))

        @settings(
            max_examples=inputs, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck), derandomize=False,
        )  # fmt: skip
        @seed(start)
        @given(target.inputs)
        def each(given_input: Any) -> None:
            _one(take, given_input, tally)

        began = time.perf_counter()
        try:
            each()
        finally:
            signal.signal(signal.SIGPROF, previous)
            tally.seconds = time.perf_counter() - began
    return tally


def _one(take: Callable[[Any], bool], given_input: Any, tally: Tally) -> None:
    began = time.process_time()
    faulthandler.dump_traceback_later(_GIVEN_UP, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        accepted = take(given_input)
        signal.setitimer(signal.ITIMER_PROF, 0)
        tally.accepted += accepted
        tally.refused += not accepted
    except (Exception, Hang) as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        tally.crashes.setdefault(where, [traceback.format_exc()]).append(given_input)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        tally.inputs += 1
        tally.slowest = max(tally.slowest, time.process_time() - began)


def _hang(*_: object) -> None:
    raise Hang
