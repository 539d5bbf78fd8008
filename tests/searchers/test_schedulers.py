from __future__ import annotations

from typing import Any

import pytest

from searchers.population import PopulationBasedTraining
from searchers.schedulers import Asha, Hyperband, Median, NoScheduler, Scheduler, check_objectives, rungs

PBT = PopulationBasedTraining(interval=2, recipe={"dropout": {"type": "float", "low": 0, "high": 0.5}})
EPOCHS = "an integer at least 1"
FACTOR = "a number above 1"


@pytest.mark.parametrize(
    ("of", "name", "value", "allowed"),
    [
        (Asha, "grace_epochs", 0, EPOCHS),
        (Asha, "grace_epochs", 1.5, EPOCHS),
        (Asha, "reduction_factor", 1, FACTOR),
        (Asha, "reduction_factor", "3", FACTOR),
        (Asha, "reduction_factor", float("inf"), FACTOR),
        (Hyperband, "grace_epochs", True, EPOCHS),
        (Hyperband, "reduction_factor", 0.5, FACTOR),
        (Hyperband, "brackets", 0, EPOCHS),
        (Hyperband, "brackets", 2.0, EPOCHS),
        (Median, "grace_epochs", 0, EPOCHS),
        (Median, "startup_trials", 0, EPOCHS),
        (Median, "startup_trials", None, EPOCHS),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(of: Any, name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError) as error:
        of(**{name: value})
    assert str(error.value) == f"scheduler.{name} must be {allowed}, got {value!r}"


def test_results_name_them() -> None:
    names = [scheduler.name for scheduler in (NoScheduler(), Asha(), Hyperband(), Median(), PBT)]
    assert names == ["none", "asha", "hyperband", "median", "pbt"]


@pytest.mark.parametrize(
    ("scheduler", "epochs", "expected"),
    [
        (NoScheduler(), 9, ()),
        (Asha(), 9, (1, 3)),
        (Asha(), 10, (1, 3, 9)),
        (Asha(grace_epochs=2, reduction_factor=1.7), 9, (2, 4, 6)),
        (Asha(reduction_factor=2.5), 3, (1,)),
        (Asha(reduction_factor=1.2), 4, (1, 2, 3)),
        (Asha(grace_epochs=9), 9, ()),
        (Hyperband(), 9, (1, 3)),
        (Median(grace_epochs=2), 5, (2, 3, 4)),
        (PBT, 6, (2, 4)),
        (PBT, 7, (2, 4, 6)),
        (PBT, 2, ()),
    ],
)
def test_the_epochs_after_which_trials_are_compared(
    scheduler: Scheduler, epochs: int, expected: tuple[int, ...]
) -> None:
    """The first ones that are not before a rung, without the last one, after which nothing is left to stop."""
    assert rungs(scheduler, epochs) == expected


@pytest.mark.parametrize("scheduler", [Hyperband(), Median(), PBT], ids=lambda scheduler: scheduler.name)
def test_what_compares_errors_alone_takes_no_second_objective(scheduler: Scheduler) -> None:
    with pytest.raises(ValueError) as error:
        check_objectives(scheduler, ("error", "macs"))
    assert str(error.value) == (
        f"scheduler={scheduler.name} compares errors alone; with objective=['error', 'macs'] take asha or none"
    )


@pytest.mark.parametrize("scheduler", [NoScheduler(), Asha(), Hyperband(), Median(), PBT], ids=lambda s: s.name)
def test_what_is_taken(scheduler: Scheduler) -> None:
    check_objectives(scheduler, ("error",))
    if scheduler.name in ("none", "asha"):
        check_objectives(scheduler, ("error", "macs", "latency"))
