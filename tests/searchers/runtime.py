"""What the runtime does with a session, without Ray: trials that say at once what they came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from searchers.assignment import Assignment
from searchers.record import RUNNING, TrialRecord
from searchers.session import Session
from tests.searchers.fakes import choices, error_of, session

ONE_ARCHITECTURE = choices(window=[3, 4, "dense"])
"""Three knob vectors that make the same network: with two groups a window of three reads everything."""
ONE_IN_MANY = choices(window=list(range(3, 1100)))
"""The same in a space that is too large to be looked through."""
TWO_ARCHITECTURES = choices(window=["dense", *range(3, 12), 1])
"""One of them is rare."""
Train = Callable[[Session, int], Sequence[float]]


class Crash(Exception):
    """What a trial raises."""


def learn(search: Session, number: int) -> Sequence[float]:
    """A trial that ends well."""
    error = error_of({"stage1.blocks": 1, "stage1.window": 1, **only_numbers(search.store.record(number).values)})
    return (error + 0.1, error)


def only_numbers(values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not isinstance(value, str)}


def crash(search: Session, number: int) -> Sequence[float]:
    raise Crash("out of luck")


def end(search: Session, number: int, train: Train = learn) -> TrialRecord:
    """What the runtime does with one trial."""
    try:
        for epoch, error in enumerate(train(search, number), start=1):
            search.on_epoch(number, {"epoch": epoch, "validation_error": error})
    except Crash as error:
        search.on_end(number, failure=f"Traceback\nCrash: {error}\n")
    else:
        search.on_end(number)
    assert list(search.history) == search.store.records()
    return search.store.record(number)


def run(search: Session, train: Train = learn, *, at_most: int = 100) -> list[TrialRecord]:
    """Trials one after the other; all records."""
    for _ in range(at_most):
        assignment = search.propose()
        if assignment is None:
            break
        end(search, assignment.number, train)
    return search.store.records()


def outcomes(records: Sequence[TrialRecord]) -> Counter[str]:
    return Counter(record.outcome for record in records)


def proposed(search: Session) -> Assignment:
    assignment = search.propose()
    assert assignment is not None
    return assignment


def two_at_a_time(folder: Path) -> tuple[Session, int, int]:
    """A trial that is running, and another one that is running while a duplicate waits for the first."""
    search = session(folder, TWO_ARCHITECTURES, trials=3)
    first, second = proposed(search), proposed(search)
    known = {record.fingerprint for record in search.store.records()}
    assert (len(known), second.number > 1) == (2, True)
    assert {record.outcome for record in search.store.records()} == {RUNNING}
    return search, first.number, second.number
