from __future__ import annotations

import numpy as np

from search_spaces.knobs import Integer
from searchers.algorithms.guided import Guided
from searchers.history import History
from searchers.record import COMPLETED, TrialRecord
from searchers.searcher import Problem
from tests.searchers.algorithms.conformance import ToySpace

LINE = Problem(
    space=ToySpace(name="line", knobs=(Integer(name="x", low=0, high=200),)), objectives=("error", "params"), epochs=1
)


def record(number: int, x: int, **facts: object) -> TrialRecord:
    """Few parameters and a low error where x is low."""
    known = {"fingerprint": LINE.candidate({"x": x}), "params": 100 + x, **facts}
    return TrialRecord(number=number, outcome=COMPLETED, values={"x": x}, errors={1: 0.1 + x / 1000}, facts=known)


def test_what_breaks_a_limit_is_worse_in_every_objective() -> None:
    """The lower half is better in both, and beyond the limit."""
    over = [record(n, 10 * n, violations={"error": 1.0}) for n in range(10)]
    within = [record(n, 10 * n) for n in range(10, 20)]

    def low(records: list[TrialRecord]) -> int:
        propose, history = Guided().bind(LINE), History(records)
        proposed = [propose(history, np.random.default_rng(seed)) for seed in range(20)]
        return sum(values is not None and int(values["x"]) < 90 for values in proposed)

    assert low([*over, *within]) <= 4
    assert low([record(n, 10 * n) for n in range(20)]) >= 16
