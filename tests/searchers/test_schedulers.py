from __future__ import annotations

from typing import Any

import pytest

from searchers.schedulers import Asha, NoScheduler


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("grace_epochs", 0, "an integer at least 1"),
        ("grace_epochs", 1.5, "an integer at least 1"),
        ("reduction_factor", 1, "a number above 1"),
        ("reduction_factor", "3", "a number above 1"),
        ("reduction_factor", float("inf"), "a number above 1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError) as error:
        Asha(**{name: value})
    assert str(error.value) == f"scheduler.{name} must be {allowed}, got {value!r}"


def test_results_name_them() -> None:
    assert (NoScheduler().name, Asha().name) == ("none", "asha")
