from __future__ import annotations

from typing import Any

import pytest

from searchers.samplers import Random, Tpe


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("startup_trials", -1, "an integer at least 0"),
        ("startup_trials", 2.5, "an integer at least 0"),
        ("candidates", 0, "an integer at least 1"),
        ("candidates", True, "an integer at least 1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError) as error:
        Tpe(**{name: value})
    assert str(error.value) == f"searcher.{name} must be {allowed}, got {value!r}"


def test_results_name_them() -> None:
    assert (Random().name, Tpe().name) == ("random", "tpe")
