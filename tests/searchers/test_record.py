from __future__ import annotations

from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord, best_first


def record(number: int, outcome: str, *errors: float) -> TrialRecord:
    return TrialRecord(number=number, outcome=outcome, values={}, errors=dict(enumerate(errors, start=1)))


def test_the_error_is_that_of_the_last_epoch() -> None:
    trial = record(0, PRUNED, 0.5, 0.3, 0.4)
    assert (trial.error, trial.epochs) == (0.4, 3)


def test_a_trial_without_results() -> None:
    trial = record(0, RUNNING)
    assert (trial.error, trial.epochs, trial.fingerprint) == (None, 0, None)


def test_the_best_come_furthest_and_then_have_the_lowest_error() -> None:
    early, late = record(0, PRUNED, 0.1), record(1, COMPLETED, 0.9, 0.3)
    equal, better = record(2, COMPLETED, 0.9, 0.3), record(3, COMPLETED, 0.9, 0.2)
    assert best_first([early, late, equal, better]) == [better, late, equal, early]


def test_only_what_was_trained_to_a_result_is_ranked() -> None:
    others = [record(n, outcome, 0.1) for n, outcome in enumerate((FAILED, DUPLICATE, REFUSED, RUNNING))]
    assert best_first([*others, record(4, PRUNED)]) == []
