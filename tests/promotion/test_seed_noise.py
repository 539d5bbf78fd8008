"""The ceiling that seeds leave, against what a proxy without noise reaches where the truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from promotion.rank_correlation import Correlation, counts_of, draws
from promotion.seed_noise import Ceiling, ceiling, mean_over_seeds

NAN = math.nan


def ceiling_of(errors: list[list[float]] | np.ndarray, resamples: int = 50) -> Ceiling:
    table = np.array(errors, dtype=float)
    return ceiling(table, counts_of(draws(len(table), resamples, 0)))


def noisy(architectures: int, seeds: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True errors, and what each seed makes of them."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=architectures)
    return truth, truth[:, None] + noise * random.normal(size=(architectures, seeds))


def test_it_is_the_mean_over_the_pairs_of_seeds() -> None:
    errors = [[1, 1, 3], [2, 2, 2], [3, 4, 1], [4, 3, 0]]
    first = stats.kendalltau([1, 2, 3, 4], [1, 2, 4, 3]).statistic
    second = stats.kendalltau([1, 2, 4, 3], [3, 2, 1, 0]).statistic
    found = ceiling_of(errors)
    assert found.tau.value == pytest.approx((first - 1 + second) / 3)
    assert found.rho.value == pytest.approx((0.8 - 1 - 0.8) / 3)


@pytest.mark.parametrize(("seeds", "noise"), [(2, 0.5), (3, 1.0), (5, 2.0)])
def test_a_proxy_without_error_reaches_what_is_called_reachable(seeds: int, noise: float) -> None:
    """And one seed of full training, taken as the proxy of another, what is said to be between seeds."""
    truth, errors = noisy(1500, seeds + 2, noise)
    found = ceiling_of(errors[:, :seeds], resamples=1)
    means = errors[:, :seeds].mean(axis=1)
    assert found.tau_reachable == pytest.approx(stats.kendalltau(truth, means).statistic, abs=0.03)
    assert found.rho_reachable == pytest.approx(stats.spearmanr(truth, means).statistic, abs=0.03)
    assert found.tau.value == pytest.approx(stats.kendalltau(*errors[:, seeds:].T).statistic, abs=0.04)


def test_seeds_that_agree_leave_everything_to_be_reached() -> None:
    found = ceiling_of([[1, 10], [2, 20], [3, 30], [5, 40]])
    assert (found.tau.value, found.tau_reachable, found.rho_reachable) == (1, 1, pytest.approx(1))
    assert found.reason is None


def test_seeds_that_contradict_each_other_leave_nothing() -> None:
    found = ceiling_of([[1, 3], [2, 2], [3, 1]])
    assert (found.tau.value, found.tau_reachable, found.rho_reachable) == (-1, 0, 0)


def test_a_failed_training_is_left_out_of_the_pairs_that_it_is_in() -> None:
    errors = [[1, 1, NAN], [2, 2, 9], [3, 3, 8], [4, 4, 7]]
    assert ceiling_of(errors).tau.value == pytest.approx((1 - 1 - 1) / 3)


def test_the_interval_is_that_of_the_mean_over_pairs() -> None:
    _, errors = noisy(12, 3, 0.7)
    indices = draws(12, 40, 0)
    found = ceiling(errors, counts_of(indices))
    means = [
        np.mean([stats.kendalltau(errors[row, a], errors[row, b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))])
        for row in indices
    ]
    assert (found.tau.low, found.tau.high) == pytest.approx(np.quantile(means, (0.025, 0.975)))


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ([[1], [2], [3]], "one seed: the noise between seeds is not known; train with two or more"),
        ([[1, NAN], [2, 3], [3, 4]], "no two seeds rank the same 3 architectures"),
        ([[1, 5], [2, 5], [3, 5]], "no two seeds rank the same 3 architectures"),
    ],
)
def test_where_there_is_none_it_says_why(errors: list[list[float]], reason: str) -> None:
    assert ceiling_of(errors) == Ceiling(tau=Correlation(), rho=Correlation(), reason=reason)


def test_means_are_of_what_is_finite() -> None:
    means = mean_over_seeds(np.array([[1, NAN, 3], [NAN, NAN, NAN], [2, math.inf, 4]]))
    np.testing.assert_array_equal(means, [2, NAN, 3])


def test_the_same_errors_in_another_order_are_a_tie() -> None:
    assert sum([0.1, 0.2, 0.3]) != sum([0.3, 0.2, 0.1])
    assert len(set(mean_over_seeds(np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.2, 0.2]])))) == 1
