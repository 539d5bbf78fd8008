from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from sqlalchemy.exc import OperationalError, ProgrammingError

from searchers import patience
from searchers.patience import Patient
from searchers.study import StoreLost
from tests.searchers.trials import Clock

GONE = OperationalError("SELECT 1", {}, Exception("server closed the connection\n  unexpectedly"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(monkeypatch)

    def sleep(seconds: float) -> None:
        made.now += seconds

    monkeypatch.setattr(patience.time, "sleep", sleep)
    return made


def wrapped(error: Exception) -> StorageInternalError:
    """As Optuna raises it."""
    made = StorageInternalError("An exception is raised during the commit.")
    made.__cause__ = error
    return made


def failing(*errors: Exception) -> Callable[..., Any]:
    """Raises these, one after the other, and then answers."""
    left = iter(errors)

    def ask(*args: Any, **kwargs: Any) -> Any:
        for error in left:
            raise error
        return args, kwargs

    return ask


def patient(said: list[str], seconds: float = 60) -> Patient:
    return Patient(InMemoryStorage(), seconds, said.append)


def test_what_fails_for_a_while_is_asked_again(clock: Clock) -> None:
    said: list[str] = []
    begun = clock.now
    answer = patient(said).call(failing(GONE, wrapped(GONE), GONE), 1, key=2)
    assert (answer, clock.now - begun) == (((1,), {"key": 2}), 0.5 + 1 + 2)
    reason = "server closed the connection unexpectedly"
    assert said == [f"the store cannot be used, trying again for 60 s: {reason}", "the store is back"]


def test_what_fails_for_longer_is_lost_for_good(clock: Clock) -> None:
    said: list[str] = []
    one, begun = patient(said), clock.now
    for _ in range(2):  # the second one is not waited for
        with pytest.raises(StoreLost, match=r"^the store cannot be used: server closed the connection unexpectedly$"):
            one.call(failing(*[wrapped(GONE)] * 100))
    assert 60 <= clock.now - begun <= 60 + patience.LONGEST
    assert len(said) == 1


def test_what_will_not_pass_is_not_waited_for(clock: Clock) -> None:
    said: list[str] = []
    denied = ProgrammingError("SELECT 1", {}, Exception("permission denied for table trials"))
    with pytest.raises(StoreLost, match=r"^the store cannot be used: permission denied for table trials$"):
        patient(said).call(failing(wrapped(denied)))
    assert said == []


def test_a_write_to_a_trial_that_has_ended_is_none() -> None:
    assert patient([]).call(failing(UpdateFinishedTrialError("ended"))) is None


def test_other_errors_are_whose_they_are() -> None:
    with pytest.raises(KeyError):
        patient([]).call(failing(KeyError("no such study")))


def test_it_is_a_storage() -> None:
    assert cast(Any, patient([])).get_all_studies() == []
