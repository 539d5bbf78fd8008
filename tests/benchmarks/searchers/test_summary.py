"""Means over searches, at trials and at times."""

import numpy as np
import pytest
from simulator import Setting, simulate
from summary import HOURS, TIMES, by_evaluations, by_hours
from trajectory import Regret, Trajectory

from tests.benchmarks.searchers.toy import problem, propose, toy


@pytest.fixture
def searches() -> list[Trajectory]:
    """Regrets 20, 0, 0, 0 at 3, 9, 18, 30 seconds, and 15, 2.5, 0 at 12, 21, 27 seconds."""
    orders = (("00", "01", "10", "11"), ("11", "10", "01"))
    return [simulate(toy(), problem(), propose(order), Setting(evaluations=len(order))) for order in orders]


def test_means_and_standard_errors_at_trials(searches: list[Trajectory]) -> None:
    curve = by_evaluations("told", searches, Regret(toy()), 4)
    assert curve.points.tolist() == [1, 2, 3, 4]
    assert curve.means == pytest.approx([17.5, 1.25, 0, 0]), "the shorter search stays at what it had found"
    assert curve.errors == pytest.approx([2.5, 1.25, 0, 0])
    assert curve.at(2) == pytest.approx((1.25, 1.25))
    assert curve.at(100) == pytest.approx((0, 0))


def test_means_at_times(searches: list[Trajectory]) -> None:
    curve = by_hours("told", searches, Regret(toy()), end=30 / 3600)
    assert (curve.axis, len(curve.points)) == (HOURS, TIMES)
    seconds = {2.9: 20, 3.1: 20, 9.1: 10, 12.1: 7.5, 21.1: 1.25, 27.1: 0}  # 20 is also the worst of the table
    for at, mean in seconds.items():
        assert curve.at(at / 3600)[0] == pytest.approx(mean)
    assert curve.first_within(7.5) == pytest.approx(12 / 3600, rel=0.02)
    assert curve.first_within(-1) is None


def test_the_last_trial_counts_at_the_time_at_which_it_ends(searches: list[Trajectory]) -> None:
    assert by_hours("told", searches[1:], Regret(toy()), end=27 / 3600).means[-1] == 0


def test_a_single_search_has_no_standard_error(searches: list[Trajectory]) -> None:
    assert np.isnan(by_evaluations("told", searches[:1], Regret(toy()), 4).errors).all()


def test_a_search_without_a_result_stays_at_the_start() -> None:
    nothing = simulate(toy(), problem(), propose(["00"]), Setting(evaluations=1, seconds=2))
    assert by_evaluations("told", [nothing], Regret(toy()), 2).means == pytest.approx([20, 20])
