"""Rank correlations of resamples against scipy on each resample by itself."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from promotion.rank_correlation import Correlation, bootstrapped, correlation, counts_of, draws, kendall, spearman

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=9)


def one_by_one(measure, x, y, indices):
    """The slow and obvious way: scipy on the items that each resample holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return [measure(x[row], y[row]).statistic for row in indices]


@pytest.mark.parametrize(("fast", "slow"), [(kendall, stats.kendalltau), (spearman, stats.spearmanr)])
@given(pairs=PAIRS, seed=st.integers(0, 9))
def test_each_resample_is_what_scipy_makes_of_it(fast, slow, pairs: list[tuple[int, int]], seed: int) -> None:
    x, y = np.array(pairs, dtype=float).T
    indices = draws(len(x), 6, seed)
    found = fast(x, y, counts_of(indices))
    np.testing.assert_allclose(found, one_by_one(slow, x, y, indices), rtol=0, atol=1e-12)
    assert np.all(np.isnan(found) | (np.abs(found) <= 1))


@pytest.mark.parametrize(("fast", "slow"), [(kendall, stats.kendalltau), (spearman, stats.spearmanr)])
def test_more_items_than_fit_into_a_block(fast, slow) -> None:
    x, noise = np.random.default_rng(0).normal(size=(2, 1100))
    y = (x + noise).round(1)
    indices = draws(1100, 3, 0)
    value, resampled = bootstrapped(fast, x, y, counts_of(indices))
    assert value == pytest.approx(slow(x, y).statistic, abs=1e-12)
    np.testing.assert_allclose(resampled, one_by_one(slow, x, y, indices), rtol=0, atol=1e-12)


def test_counts_are_how_often_each_item_was_drawn() -> None:
    assert counts_of(np.array([[0, 0, 2], [1, 2, 0]])).tolist() == [[2, 0, 1], [1, 1, 1]]


def test_draws_depend_on_the_arguments_alone() -> None:
    assert draws(5, 7, 3).tolist() == draws(5, 7, 3).tolist() != draws(5, 7, 4).tolist()


def test_the_interval_is_of_the_resamples_that_have_a_correlation() -> None:
    resampled = np.array([math.nan, *np.linspace(0, 1, 41), math.nan])
    assert correlation(0.5, resampled, 5) == Correlation(value=0.5, low=pytest.approx(0.025), high=pytest.approx(0.975))


def test_what_is_undefined_is_none() -> None:
    assert correlation(math.nan, np.array([0.5]), 9) == Correlation()
    assert correlation(0.5, np.array([math.nan]), 9) == Correlation(value=0.5)


def test_too_few_items_have_no_interval() -> None:
    assert correlation(1, np.ones(9), 5) == Correlation(value=1, low=1, high=1)
    assert correlation(1, np.ones(9), 4) == Correlation(value=1)
