"""Hypervolume of a search, computed by hand."""

import numpy as np
import pytest
from simulator import Setting, simulate
from table import Table
from trajectory import MEDIAN, WORST, Volume

from tests.benchmarks.searchers.test_simulator import Strict
from tests.benchmarks.searchers.toy import problem, propose, toy

BOTH = ("error", "macs")


def test_what_a_search_lacks_of_the_whole_front() -> None:
    """In units of the ranges: 00 is at (1, 0), 01 at (0, 1/3), 10 at (1/8, 2/3) and 11 at (3/4, 1)."""
    search = simulate(toy(), problem(BOTH), propose(("00", "10", "11", "01")), Setting(evaluations=4))
    whole = 2 / 3
    missing = Volume(toy(), BOTH, WORST).after_each(search)
    assert missing == pytest.approx([1, 1 - (7 / 8 * 1 / 3) / whole, 1 - (7 / 8 * 1 / 3) / whole, 0])


def test_only_what_is_better_than_half_of_the_table_counts_up_to_the_median() -> None:
    """The medians are 0.3875 and 25: 01 alone is below both, by (0.0875 / 0.0875, 5 / 15) of the ranges up to there."""
    search = simulate(toy(), problem(BOTH), propose(("00", "10", "01", "11")), Setting(evaluations=4))
    assert Volume(toy(), BOTH, MEDIAN).after_each(search) == pytest.approx([1, 1, 0, 0])


def test_there_may_be_nothing_better_than_the_reference() -> None:
    table = toy()
    same = Table(
        space=table.space, epochs=table.epochs, errors=table.errors, seconds=table.seconds, costs={"macs": np.ones(4)}
    )
    assert Volume(toy(), BOTH, WORST).whole == pytest.approx(2 / 3)
    assert Volume(same, BOTH, WORST).whole == Volume(same, BOTH, MEDIAN).whole == 0


def test_trials_that_were_stopped_early_add_nothing() -> None:
    setting = Setting(evaluations=4)
    search = simulate(toy(), problem(BOTH), propose(("01", "00", "10", "11")), setting, scheduler=Strict())
    assert search.epochs.tolist() == [1, 1, 3, 3]
    assert Volume(toy(), BOTH, WORST).after_each(search)[:2].tolist() == [1, 1]
