import math
from typing import Any

import pytest
import yaml
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.budget import Budget
from seqconv import Complexity
from tests.search_spaces.examples import FOLDER


def cost(params: int = 0, macs: int = 0, serial_depth: int = 0) -> Complexity:
    return Complexity(
        params=params, macs=macs, serial_depth=serial_depth, paper_flops=0, unread_groups=0, activation_bytes=0
    )


def test_the_default_budget_is_open() -> None:
    budget = instantiate(yaml.safe_load((FOLDER.parent / "budget" / "default.yaml").read_text()), _convert_="all")
    assert budget == Budget()
    assert budget.bounds() == {}
    assert budget.refusal(cost(params=10**12)) is None


def test_violations_are_relative_to_the_bound() -> None:
    budget = Budget(params=[100, 200], macs=[None, 1000], serial_depth=[10, None])
    assert budget.violations(cost(150, 1000, 10)) == {}
    assert budget.violations(cost(50, 1500, 5)) == {"params": 0.5, "macs": 0.5, "serial_depth": 0.5}
    assert budget.violations(cost(250, 0, 11)) == {"params": 0.25}
    assert Budget(params=[0, 0]).violations(cost(3)) == {"params": 3}


def test_a_refusal_is_one_sentence() -> None:
    budget = Budget(params=[None, 1e6], macs=[2_000_000, 3e9])
    assert budget.refusal(cost(1_200_000, 5)) == (
        "params 1,200,000 is above its maximum 1,000,000 and macs 5 is below its minimum 2,000,000"
    )
    assert budget.refusal(cost(1, 2_500_000)) is None


@given(st.integers(0, 10**9), st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 10**9))
def test_a_refusal_stands_exactly_where_there_is_a_violation(params: int, low: int | None, high: int | None) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, low
    budget, inside = Budget(params=[low, high]), (low or 0) <= params <= (math.inf if high is None else high)
    assert (budget.violations(cost(params)) == {}) is (budget.refusal(cost(params)) is None) is inside


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ([2, 1], "budget.params is contradictory: its minimum 2 is above its maximum 1"),
        ([-1, 5], "budget.params must be finite and at least 0, got -1 in [-1, 5]"),
        ([1, math.inf], "budget.params must be finite and at least 0, got inf in [1, inf]"),
        ([math.nan, 1], "budget.params must be two numbers, or null where open; got nan in [nan, 1]"),
        (["1e6", None], "budget.params must be two numbers, or null where open; got '1e6' in ['1e6', None]"),
        ([True, None], "budget.params must be two numbers, or null where open; got True in [True, None]"),
        (5, "budget.params must be [min, max] such as [null, 300000], null where open; got 5"),
        ([], "budget.params must be [min, max] such as [null, 300000], null where open; got []"),
        ([1, 2, 3], "budget.params must be [min, max] such as [null, 300000], null where open; got [1, 2, 3]"),
    ],
)
def test_pairs_that_are_no_bounds(pair: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Budget(params=pair)
    assert str(error.value) == message
    with pytest.raises(ValueError, match=r"^budget\.serial_depth"):
        Budget(serial_depth=pair)
