"""Which rankings are compared: stages, fidelities, and the rungs of a search."""

import math
from typing import Any

import numpy as np
import pytest

from promotion.agreement import agreement
from promotion.transfer import between_rungs, between_stages, by_fidelity, reached, spread, transfer
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord, best_first

NAN = math.nan
SETTINGS = {"resamples": 100, "seed": 3}
PROXY_ERRORS = [{1: 0.5, 3: 0.4}, {1: 0.6, 3: 0.3}, {1: 0.7, 3: 0.5}, {1: 0.8}, {}]
CIFAR = [[0.1, 0.12], [0.2, 0.18], [0.3, 0.33], [0.4, NAN], [0.25, 0.26]]
IMAGENET = [[0.3, 0.3], [0.2, 0.2], [0.4, 0.4], [NAN, NAN], [0.5, 0.5]]


def record(number: int, outcome: str, *errors: float) -> TrialRecord:
    return TrialRecord(number=number, outcome=outcome, values={}, errors=dict(enumerate(errors, start=1)))


def test_each_fidelity_is_compared_over_what_was_trained_that_far() -> None:
    found = by_fidelity(PROXY_ERRORS, CIFAR, **SETTINGS)
    assert [(f.epoch, f.agreement.n, f.agreement.left_out) for f in found] == [(1, 4, 1), (3, 3, 2)]
    assert found[0].agreement == agreement([0.5, 0.6, 0.7, 0.8, None], CIFAR, **SETTINGS)
    assert found[1].agreement == agreement([0.4, 0.3, 0.5, None, None], CIFAR, **SETTINGS)


def test_without_proxy_errors_there_is_no_fidelity() -> None:
    assert by_fidelity([{}, {}], [[0.1], [0.2]]) == []


def test_every_stage_is_compared_with_every_later_one() -> None:
    proxy = [[0.4], [0.3], [0.5], [0.8], [None]]
    found = between_stages({"proxy": proxy, "cifar": CIFAR, "imagenet": IMAGENET}, **SETTINGS)
    assert [(s.earlier, s.later, s.agreement.n) for s in found] == [
        ("proxy", "cifar", 4), ("proxy", "imagenet", 3), ("cifar", "imagenet", 4)
    ]  # fmt: skip
    assert found[1].agreement == agreement([0.4, 0.3, 0.5, 0.8, None], IMAGENET, **SETTINGS)
    assert found[2].agreement == agreement([0.11, 0.19, 0.315, 0.4, 0.255], IMAGENET, **SETTINGS)


def test_everything_at_once() -> None:
    proxy = [0.4, 0.3, 0.5, 0.8, None]
    stages = {"cifar": CIFAR, "imagenet": IMAGENET}
    found = transfer("abcde", proxy=proxy, proxy_errors=PROXY_ERRORS, stages=stages, **SETTINGS)
    assert (found.names, found.epochs) == (("a", "b", "c", "d", "e"), (3, 3, 3, 1, 0))
    assert list(found.errors) == ["proxy", "cifar", "imagenet"]
    np.testing.assert_array_equal(found.errors["proxy"], [[0.4], [0.3], [0.5], [0.8], [NAN]])
    np.testing.assert_array_equal(found.errors["cifar"], CIFAR)
    assert [(s.earlier, s.later) for s in found.stages] == [
        ("proxy", "cifar"), ("proxy", "imagenet"), ("cifar", "imagenet")
    ]  # fmt: skip
    assert {stage: list(f) for stage, f in found.fidelities.items()} == {
        stage: by_fidelity(PROXY_ERRORS, rows, **SETTINGS) for stage, rows in stages.items()
    }


def test_the_proxy_ranks_as_the_search_does() -> None:
    """What was stopped early stands behind what was trained on, whatever its error."""
    errors = [(0.5, 0.3), (0.5, 0.4), (0.2,), (0.25,), (0.5, 0.3)]
    records = [record(n, COMPLETED if len(e) > 1 else PRUNED, *e) for n, e in enumerate(errors)]
    full = [[{0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.1}[n]] for n in range(5)]
    assert [r.number for r in best_first(records)] == [0, 4, 1, 2, 3]
    found = transfer(
        "abcde", proxy=[r.error for r in records], proxy_errors=[r.errors for r in records], stages={"cifar": full}
    )
    assert found.stages[0].agreement.tau.value == pytest.approx(1)


def test_before_the_first_stage_is_trained() -> None:
    found = transfer("ab", proxy=[0.4, math.inf], proxy_errors=[{1: 0.4}, {}], stages={"cifar": [[NAN], [NAN]]})
    assert found.stages[0].agreement.reason == "a ranking needs 3 architectures with both errors, there are 0"
    assert transfer([], proxy=[], proxy_errors=[], stages={}).stages == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"proxy": [0.1]}, "proxy must have one entry for each of the 2 architectures, got 1"),
        ({"proxy_errors": [{}] * 3}, "proxy_errors must have one entry for each of the 2 architectures, got 3"),
        ({"stages": {"cifar": []}}, "cifar must have one entry for each of the 2 architectures, got 0"),
        ({"stages": {"proxy": [[0.1], [0.2]]}}, "proxy is the search's own training and cannot be a stage of full "
                                                "training; rename it"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together(changed: dict[str, Any], message: str) -> None:
    arguments = {"proxy": [0.1, 0.2], "proxy_errors": [{}, {}], "stages": {"cifar": [[0.1], [0.2]]}, **changed}
    with pytest.raises(ValueError) as error:
        transfer("ab", **arguments)
    assert str(error.value) == message


def test_rungs_are_compared_over_what_reached_the_last() -> None:
    records = [
        record(0, COMPLETED, 0.5, 0.4, 0.3),
        record(1, COMPLETED, 0.6, 0.5, 0.2),
        record(2, PRUNED, 0.9),
        record(3, PRUNED, 0.7, 0.8),
        record(4, COMPLETED, 0.4, 0.3, 0.1),
        record(5, RUNNING, 0.45, 0.35),
        record(6, COMPLETED, 0.3, 0.2, 0.15),
    ]
    found = between_rungs(records, **SETTINGS)
    assert [(r.epoch, r.later, r.of, r.agreement.n) for r in found] == [(1, 3, 7, 4), (2, 3, 6, 4)]
    early = agreement([0.5, 0.6, 0.4, 0.3], [[0.3], [0.2], [0.1], [0.15]], **SETTINGS)
    assert found[0].agreement.tau == early.tau
    assert (found[0].agreement.left_out, found[0].agreement.ceiling) == (3, early.ceiling)
    assert between_rungs(records, epochs=[2], **SETTINGS) == found[1:]
    assert [(r.epoch, r.later, r.of, r.agreement.n) for r in between_rungs(records, later=2)] == [(1, 2, 7, 6)]
    assert reached(records) == {1: 7, 2: 6, 3: 4}


def test_what_failed_or_repeats_another_is_not_a_trial_of_its_own() -> None:
    records = [record(n, COMPLETED, 0.1 * n, 0.2 * n) for n in range(4)]
    others = [record(4, FAILED, 0.1, 0.2, 0.3), record(5, DUPLICATE, 0.1, 0.2), record(6, REFUSED), record(7, RUNNING)]
    assert between_rungs(records + others, **SETTINGS) == between_rungs(records, **SETTINGS)
    assert reached(records + others) == {1: 4, 2: 4}
    assert [(r.later, r.of, r.agreement.n) for r in between_rungs(records)] == [(2, 4, 4)]


@pytest.mark.parametrize("records", [[], [record(0, RUNNING)], [record(0, COMPLETED, 0.5), record(1, COMPLETED, 0.4)]])
def test_a_search_of_one_rung_has_nothing_to_compare(records: list[TrialRecord]) -> None:
    assert between_rungs(records) == []
    assert len(reached(records)) <= 1


def test_too_few_survivors_are_said_to_be_too_few() -> None:
    found = between_rungs([record(0, COMPLETED, 0.5, 0.4), *(record(n, PRUNED, 0.1 * n) for n in range(6, 9))])
    assert [(r.of, r.agreement.reason) for r in found] == [
        (4, "a ranking needs 3 architectures with both errors, there are 1")
    ]


@pytest.mark.parametrize(
    ("epochs", "most", "chosen"),
    [
        ([], 6, []),
        ([1, 3, 9], 3, [1, 3, 9]),
        (range(1, 28), 4, [1, 3, 9, 27]),
        ([1, 2, 3, 100], 3, [1, 3, 100]),
        (range(1, 51), 6, [1, 2, 5, 10, 23, 50]),
    ],
)
def test_epochs_are_thinned_out(epochs: Any, most: int, chosen: list[int]) -> None:
    assert spread(list(epochs), most) == chosen
