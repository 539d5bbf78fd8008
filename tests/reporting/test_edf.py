from __future__ import annotations

import numpy as np
import pytest

from reporting.edf import FEWEST_IN_BIN, bins_of, distributions


def one_bin(errors: dict[str, list[float]]) -> dict[str, np.ndarray]:
    return {name: np.zeros(len(of), dtype=int) for name, of in errors.items()}


def test_without_weights_it_is_the_share_at_or_below() -> None:
    errors = {"a": [0.1, 0.2, 0.2, 0.4], "b": [0.3, 0.5]}
    found = distributions(errors, one_bin(errors))
    for name, of in errors.items():
        expected = [np.mean([error <= x for error in of]) for x in found[name].errors]
        np.testing.assert_allclose(found[name].share, expected)
    assert (found["a"].errors[0], found["a"].errors[-1], found["a"].share[-1]) == (0.1, 0.5, 1.0)
    assert (found["a"].n, found["b"].n) == (4, 2)


def test_every_bin_weighs_the_same() -> None:
    errors = {"a": [0.1, 0.1, 0.1, 0.5]}
    found = distributions(errors, {"a": np.array([0, 0, 0, 1])})["a"]
    assert found.share[0] == pytest.approx(0.5)
    middle = found.share[(found.errors > 0.1) & (found.errors < 0.5)]
    np.testing.assert_allclose(middle, 0.5)


def test_weights_take_away_what_only_the_cost_explains() -> None:
    """Errors that depend on the cost alone: two groups differ because of their costs, and at matched ones do not."""
    rng = np.random.default_rng(0)
    costs = {"cheap": rng.beta(1, 2, 4000), "dear": rng.beta(2, 1, 4000)}
    errors = {name: list(1 - of) for name, of in costs.items()}
    apart = distributions(errors, one_bin(errors))
    matched = distributions(errors, bins_of(costs))
    difference = [np.abs(of["cheap"].share - of["dear"].share).max() for of in (apart, matched)]
    assert difference[0] > 0.4
    assert difference[1] < 0.15


def test_the_band_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for seed in range(150):
        errors = {"a": list(rng.random(40))}
        found = distributions(errors, one_bin(errors), seed=seed)["a"]
        place = int(np.searchsorted(found.errors, 0.5))
        covered.append(found.low[place] <= found.errors[place] <= found.high[place])
    assert 0.88 <= np.mean(covered) <= 0.99


def test_equal_arguments_give_equal_bands() -> None:
    errors = {"a": [0.1, 0.2, 0.3, 0.5, 0.6]}
    first, second = (distributions(errors, one_bin(errors), seed=3)["a"] for _ in range(2))
    np.testing.assert_array_equal(first.low, second.low)
    assert (first.low <= first.share).all()
    assert (first.share <= first.high).all()


@pytest.mark.parametrize(
    ("costs", "bins"),
    [
        ({"a": range(20), "b": range(20)}, 4),
        ({"a": range(8), "b": range(8)}, 2),
        ({"a": range(10), "b": range(10, 20)}, 1),
        ({"a": [1] * 20, "b": [1] * 20}, 1),
        ({"a": range(20), "b": [3]}, 1),
    ],
)
def test_as_many_bins_as_all_groups_fill(costs: dict[str, list[float]], bins: int) -> None:
    found = bins_of(costs)
    assert {name: len(of) for name, of in found.items()} == {name: len(of) for name, of in costs.items()}
    assert len(set(np.concatenate(list(found.values())))) == bins
    if bins > 1:
        assert all(np.bincount(of, minlength=bins).min() >= FEWEST_IN_BIN for of in found.values())


def test_what_stands_in_a_bin_has_about_one_cost() -> None:
    bins = bins_of({"a": list(range(20)), "b": list(range(20))})["a"]
    assert list(bins) == sorted(bins)
