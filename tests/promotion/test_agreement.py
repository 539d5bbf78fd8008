"""Agreement of two rankings: against scipy, by its symmetries, and what it says where there is nothing to rank."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from promotion.agreement import Agreement, agreement
from promotion.rank_correlation import Correlation, draws
from promotion.seed_noise import Ceiling

NAN = math.nan
ERRORS = st.integers(0, 12).map(lambda error: error / 16)
"""With ties, and exact in every sum of the tests."""


@st.composite
def tables(draw: st.DrawFn, fewest: int = 3) -> tuple[list[float], list[list[float]]]:
    """Proxy errors, and full errors of one to three seeds."""
    n, seeds = draw(st.integers(fewest, 8)), draw(st.integers(1, 3))
    proxy = draw(st.lists(ERRORS, min_size=n, max_size=n))
    full = draw(st.lists(st.lists(ERRORS, min_size=seeds, max_size=seeds), min_size=n, max_size=n))
    return proxy, full


def correlations(found: Agreement) -> tuple[float | None, ...]:
    """All that an agreement says apart from the regret, which is in units of the error."""
    values = (found.tau.value, found.rho.value, found.chance, *found.top.values(), found.ceiling.tau.value)
    return tuple(value if value is None else round(value, 9) for value in values)


@given(tables())
def test_the_values_are_those_of_scipy(table: tuple[list[float], list[list[float]]]) -> None:
    proxy, full = table
    means = np.mean(full, axis=1)
    found = agreement(proxy, full, resamples=5)
    if np.ptp(proxy) == 0 or np.ptp(means) == 0:
        assert (found.tau, found.rho, found.chance) == (Correlation(), Correlation(), None)
    else:
        assert found.tau.value == pytest.approx(stats.kendalltau(proxy, means).statistic, abs=1e-12)
        assert found.rho.value == pytest.approx(stats.spearmanr(proxy, means).statistic, abs=1e-12)
        assert -1 <= found.tau.value <= 1 and -1 <= found.rho.value <= 1


def test_the_intervals_are_those_of_a_loop_over_resamples() -> None:
    proxy, *seeds = np.random.default_rng(3).normal(size=(4, 9))
    full = np.stack(seeds, axis=1) + proxy[:, None]
    found = agreement(proxy.tolist(), full.tolist(), resamples=200, seed=7)
    means = full.mean(axis=1)
    rows = draws(9, 200, 7)
    for measure, interval in ((stats.kendalltau, found.tau), (stats.spearmanr, found.rho)):
        values = [measure(proxy[row], means[row]).statistic for row in rows]
        assert (interval.low, interval.high) == pytest.approx(np.quantile(values, (0.025, 0.975)))


@given(tables(), st.sampled_from([lambda e: 3 * e + 1, lambda e: e**3, math.exp]))
def test_a_monotone_change_of_the_proxy_changes_nothing(table: Any, change: Any) -> None:
    proxy, full = table
    before, after = agreement(proxy, full, resamples=30), agreement([change(e) for e in proxy], full, resamples=30)
    assert replace(after, reason=before.reason) == before  # the reason names the error that all have


@given(tables())
def test_a_monotone_change_of_full_errors_changes_the_regret_alone(table: Any) -> None:
    proxy, full = table
    there, changed = agreement(proxy, full, resamples=5), [[4 * e + 0.5 for e in row] for row in full]
    found = agreement(proxy, changed, resamples=5)
    assert correlations(found) == correlations(there)
    assert found.regret == pytest.approx(4 * there.regret, abs=1e-9)


@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_architectures_does_not_matter(table: Any, random: Any) -> None:
    rows = list(zip(*table, strict=True))
    before = agreement(*table, resamples=1)
    random.shuffle(rows)
    after = agreement([proxy for proxy, _ in rows], [full for _, full in rows], resamples=1)
    assert correlations(after) == correlations(before)
    assert after.regret == pytest.approx(before.regret, abs=1e-12)


@given(tables())
def test_the_other_order_has_the_opposite_sign(table: Any) -> None:
    proxy, full = table
    found, opposite = (agreement([sign * e for e in proxy], full, resamples=1).tau.value for sign in (1, -1))
    assert opposite == (None if found is None else pytest.approx(-found, abs=1e-12))


@given(st.lists(ERRORS, min_size=5, max_size=12, unique=True))
def test_equal_rankings_agree_fully(errors: list[float]) -> None:
    found = agreement(errors, [[e, e] for e in errors])
    assert found.tau == found.rho == Correlation(value=1, low=1, high=1)
    assert set(found.top.values()) == {1}
    assert (found.regret, found.ceiling.tau_reachable) == (0, 1)


@given(st.lists(ERRORS, min_size=3, max_size=9).filter(lambda errors: len(set(errors)) > 1))
def test_equal_rankings_with_ties_agree_fully_too(errors: list[float]) -> None:
    assert agreement(errors, [[e] for e in errors]).tau.value == pytest.approx(1)


def test_how_probable_as_much_is_by_chance() -> None:
    """Of the six orders of three, one is the same; of the 24 of four, four have one swap or none."""
    assert agreement([1, 2, 3], [[1], [2], [3]]).chance == pytest.approx(1 / 6)
    orders = list(itertools.permutations(range(4)))
    taus = [stats.kendalltau(range(4), order).statistic for order in orders]
    swapped = agreement([0, 1, 2, 3], [[0], [1], [3], [2]])
    assert swapped.chance == pytest.approx(sum(tau >= swapped.tau.value - 1e-9 for tau in taus) / 24)


def test_overlap_and_regret() -> None:
    found = agreement([0.1, 0.2, 0.3, 0.4, 0.5], [[0.5], [0.3], [0.2], [0.4], [0.6]], top=(1, 2, 3, 4, 5))
    assert found.top == {1: 0, 2: 0.5, 3: pytest.approx(2 / 3), 4: 1}
    assert found.regret == pytest.approx(0.3)


def test_ties_are_broken_by_chance() -> None:
    """Two are the proxy's best, one of them is the best; three share the second place of the other ranking."""
    found = agreement([0.1, 0.1, 0.2, 0.3], [[0.1], [0.2], [0.2], [0.2]], top=(1, 2, 3))
    assert found.top == {1: 0.5, 2: pytest.approx((1 + 1 / 3) / 2), 3: pytest.approx((1 + 2 / 3 + 2 / 3) / 3)}
    assert found.regret == pytest.approx(0.05)


def test_resamples_of_one_architecture_are_left_out() -> None:
    """Of 27 resamples of three architectures, three hold one of them alone."""
    found = agreement([1, 2, 3], [[1], [3], [2]], resamples=2700)
    assert found.resamples == sum(len(set(row)) > 1 for row in draws(3, 2700, 0).tolist())
    assert 2250 < found.resamples < 2550
    assert found.tau == Correlation(value=pytest.approx(1 / 3))  # three are too few for an interval


def test_failed_trainings_are_left_out_and_counted() -> None:
    proxy = [0.1, 0.2, None, 0.4, math.inf, 0.6]
    full = [[0.1, 0.1], [NAN, 0.2], [0.3, 0.3], [None, math.inf], [0.5, 0.5], [0.6, 0.7]]
    found = agreement(proxy, full)
    assert (found.n, found.left_out, found.seeds, found.failed) == (3, 3, 2, 1)
    assert found.tau == agreement([0.1, 0.2, 0.6], [[0.1], [0.2], [0.65]]).tau


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_to_rank(n: int) -> None:
    reason = f"a ranking needs 3 architectures with both errors, there are {n}"
    found = agreement([*[0.1, 0.2][:n], None], [[0.3, 0.4]] * (n + 1))
    assert found == Agreement(n=n, left_out=1, seeds=2, failed=0, ceiling=Ceiling(reason=reason), reason=reason)


def test_no_architectures() -> None:
    found = agreement([], [])
    assert (found.n, found.seeds, found.tau.value) == (0, 0, None)


@pytest.mark.parametrize(
    ("proxy", "full", "reason"),
    [
        ([0.5] * 3, [[0.1], [0.2], [0.3]], "every proxy error is 0.5: there is nothing to rank"),
        ([0.1, 0.2, 0.3], [[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]], "every full error is 0.2: there is nothing to rank"),
    ],
)
def test_nothing_to_rank(proxy: list[float], full: list[list[float]], reason: str) -> None:
    """What does not need an order is there all the same: one of three, drawn blindly."""
    found = agreement(proxy, full)
    assert (found.tau, found.rho, found.chance, found.resamples) == (Correlation(), Correlation(), None, 0)
    assert found.reason == reason
    assert found.top == {1: pytest.approx(1 / 3)}
    assert found.regret == pytest.approx(np.mean([row[0] for row in full]) - 0.1 if "proxy" in reason else 0)


@pytest.mark.parametrize(("n", "resamples"), [(499, 2000), (1000, 500), (1700, 200)])
def test_many_architectures_get_fewer_resamples(n: int, resamples: int) -> None:
    x, noise = np.random.default_rng(0).normal(size=(2, n))
    found = agreement(x, (x + noise)[:, None])
    assert found.resamples == resamples
    assert found.tau.low < found.tau.value < found.tau.high
    assert found.tau.value == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [[1]]), "proxy and full_by_seed must have an entry an architecture, got 2 and 1"),
        (([1, 2], [[1], [1, 2]]), "errors by seed: every row must have one error for each seed, NaN where there is "
                                  "none; got rows of 1, 2"),
        (([1], [[]]), "errors by seed: every row must have one error for each seed, NaN where there is none; got rows "
                      "of 0"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_compared(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        agreement(*arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top": (1, 0)}, "top must be an integer at least 1, got 0"),
        ({"resamples": 0}, "resamples must be an integer at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        agreement([1, 2, 3], [[1], [2], [3]], **settings)
    assert str(error.value) == message
