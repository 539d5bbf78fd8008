from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord

OUTCOMES = (RUNNING, COMPLETED, PRUNED, FAILED, DUPLICATE, REFUSED)
COUNTED = (RUNNING, COMPLETED, PRUNED, FAILED)


def record(number: int, outcome: str = RUNNING, fingerprint: str | None = "a") -> TrialRecord:
    facts = {} if fingerprint is None else {"fingerprint": fingerprint}
    return TrialRecord(number=number, outcome=outcome, values={}, facts=facts)


def test_trials_by_number() -> None:
    records = [record(0, COMPLETED), record(1), record(2, FAILED)]
    history = History(records)
    assert (len(history), list(history), history[1]) == (3, records, records[1])
    history.put(ended := record(1, PRUNED))
    assert list(history) == [records[0], ended, records[2]]
    history.put(record(3))
    assert (len(history), history[3]) == (4, record(3))


def test_an_empty_history() -> None:
    history = History()
    assert (len(history), list(history), history.since(0), history.known("a")) == (0, [], ([], 0), False)


def test_numbers_leave_no_gap() -> None:
    history = History([record(0)])
    with pytest.raises(ValueError) as error:
        history.put(record(2))
    assert str(error.value) == "trial 2 comes after 1: numbers leave no gap"
    assert (len(history), history.since(0)) == (1, ([0], 1))


def test_what_was_put_since() -> None:
    history = History([record(0), record(1)])
    numbers, position = history.since(0)
    assert numbers == [0, 1]
    assert history.since(position) == ([], position)
    for number, outcome in ((1, RUNNING), (0, COMPLETED), (1, COMPLETED), (2, RUNNING)):
        history.put(record(number, outcome))
    assert history.since(position)[0] == [1, 0, 2]
    assert history.since(0)[0] == [0, 1, 2]
    assert history.since(history.since(0)[1]) == ([], history.since(position)[1])


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_architecture_is_known_where_it_is_being_tried_or_was_tried(outcome: str) -> None:
    history = History([record(0, outcome, "a")])
    assert (history.known("a"), history.known("b")) == (outcome in COUNTED, False)


def test_what_a_measurement_refused_is_known_and_what_a_budget_refused_is_judged_anew() -> None:
    slow = TrialRecord(number=0, outcome=REFUSED, values={}, facts={"fingerprint": "a", "latency": 9.0})
    assert History([slow]).known("a")
    assert not History([record(0, REFUSED, "a")]).known("a")


def test_an_architecture_of_a_duplicate_is_known_by_its_original() -> None:
    history = History([record(0, RUNNING, "a"), record(1, RUNNING, "a")])
    history.put(record(1, DUPLICATE, "a"))
    assert history.known("a")
    history.put(record(0, FAILED, "a"))
    assert history.known("a")


def test_what_has_no_architecture_is_not_known() -> None:
    assert not History([record(0, REFUSED, None)]).known("None")


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(OUTCOMES), st.sampled_from(["a", "b", None])), max_size=30)
)
def test_it_agrees_with_a_plain_list(puts: list[tuple[int, str, str | None]]) -> None:
    """Also what follows it through `since` only, from any moment on."""
    history, expected, following, position = History(), list[TrialRecord](), dict[int, TrialRecord](), 0
    for step, (number, outcome, fingerprint) in enumerate(puts):
        put = record(min(number, len(expected)), outcome, fingerprint)
        expected[put.number : put.number + 1] = [put]
        history.put(put)
        if step % 3 == 0:
            changed, position = history.since(position)
            following |= {n: history[n] for n in changed}
    changed, _ = history.since(position)
    following |= {n: history[n] for n in changed}
    assert list(history) == expected == [following[n] for n in range(len(expected))]
    for name in ("a", "b"):
        assert history.known(name) == any(r.fingerprint == name and r.outcome in COUNTED for r in expected)
