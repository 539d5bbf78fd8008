from __future__ import annotations

from reporting.matched import errors_at, matched_epoch
from searchers.record import PRUNED
from tests.reporting.records import trial


def test_errors_are_compared_where_most_trials_have_one() -> None:
    trials = [trial(i, PRUNED, *[0.5] * epochs) for i, epochs in enumerate([9, 9, 3, 3, 3, 3, 3, 3, 1, 1])]
    assert matched_epoch(trials) == 3
    assert matched_epoch(trials[:2]) == 9
    assert matched_epoch(trials[5:]) == 1
    assert matched_epoch([]) is None
    assert matched_epoch([trial(0), trial(1)]) is None
    assert [(of.record.number, error) for of, error in errors_at(trials, 9)] == [(0, 0.5), (1, 0.5)]
    assert errors_at([trial(0, PRUNED, float("nan"))], 1) == []
