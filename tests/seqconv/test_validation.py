import math

import pytest

from seqconv import validation


def test_values_that_are_allowed_come_back() -> None:
    assert validation.integer("n", 3, high=3) == 3
    assert validation.integer("n", 0, low=0) == 0
    assert validation.number("x", 1, low=0) == 1.0
    assert isinstance(validation.number("x", 1, low=0), float)
    assert validation.boolean("b", False) is False
    assert validation.one_of("c", "two", iter(["one", "two"])) == "two"
    assert validation.exact_keys("d", {"a": 1, "b": 2}, iter(["a"]), ["b"]) == {"a": 1, "b": 2}
    assert validation.has_keys("d", {"a": 1, "other": 2}, ["a"]) == {"a": 1, "other": 2}


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, math.nan])
def test_integer_refuses(value: object) -> None:
    with pytest.raises(ValueError, match=r"^n must be an integer at least 1, got "):
        validation.integer("n", value)


def test_integer_above_the_range() -> None:
    with pytest.raises(ValueError, match=r"^n must be an integer from 2 to 4, got 5$"):
        validation.integer("n", 5, low=2, high=4)


@pytest.mark.parametrize("value", [-0.1, 1.1, True, "0.5", None, math.nan, math.inf, -math.inf, 10**400])
def test_number_refuses(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x must be a number at least 0 and at most 1, got "):
        validation.number("x", value, low=0, high=1)


def test_number_at_an_open_end() -> None:
    with pytest.raises(ValueError, match=r"^x must be a number above 0, got 0$"):
        validation.number("x", 0, low=0, open_low=True)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_boolean_refuses_what_behaves_like_one(value: object) -> None:
    with pytest.raises(ValueError, match=r"^b must be true or false, got "):
        validation.boolean("b", value)


def test_one_of_names_the_near_miss() -> None:
    with pytest.raises(ValueError, match=r"^form must be one of plain, dense, got 'plane' \(did you mean plain\?\)$"):
        validation.one_of("form", "plane", ["plain", "dense"])
    with pytest.raises(ValueError, match=r"^form must be one of plain, dense, got \[\]$"):
        validation.one_of("form", [], ["plain", "dense"])


def test_keys_that_are_unknown_or_missing() -> None:
    with pytest.raises(
        ValueError, match=r"^d: unknown key 'windw' \(did you mean window\?\); allowed are blocks, window$"
    ):
        validation.exact_keys("d", {"windw": 1}, ["blocks"], ["window"])
    with pytest.raises(ValueError, match=r"^d: missing key 'blocks'; required are blocks$"):
        validation.exact_keys("d", {"window": 1}, ["blocks"], ["window"])
    with pytest.raises(ValueError, match=r"^d must be a mapping, got \[1\]$"):
        validation.exact_keys("d", [1], ["blocks"])
    with pytest.raises(ValueError, match=r"^d: missing key 'b'; required are a, b$"):
        validation.has_keys("d", {"a": 1}, ["a", "b"])
