from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from search_spaces.staged import StagedSpace
from searchers import searcher
from searchers.searcher import Problem
from tests.searchers.fakes import choices, drawn, space

WITH_FORMS = choices(form=["plain", "bottleneck"], subgroups=[1, 2])
PLAIN = {"stage1.form": "plain", "stage1.subgroups": 1}


class Counting:
    """A space that counts how often it is asked."""

    def __init__(self, space: StagedSpace) -> None:
        self.name, self.knobs, self.to_dict, self._space, self.decoded = (
            space.name,
            space.knobs,
            space.to_dict,
            space,
            0,
        )

    def decode(self, values: Mapping[str, Any]) -> Any:
        self.decoded += 1
        return self._space.decode(values)


def test_a_candidate_is_the_fingerprint_of_its_architecture() -> None:
    problem = Problem(space=space())
    for number in range(5):
        assert problem.candidate(drawn(number)) == space().decode(drawn(number)).fingerprint()


def test_what_makes_no_architecture_is_no_candidate() -> None:
    candidate = Problem(space=WITH_FORMS).candidate
    assert candidate({**PLAIN, "stage1.subgroups": 2}) is None
    assert candidate({**PLAIN, "stage1.form": "round"}) is None
    assert candidate({}) is None
    assert candidate(PLAIN) is not None


def test_what_may_not_be_trained_is_no_candidate() -> None:
    def refusal(architecture: Any) -> str | None:
        return "too plain" if architecture.stages[0].form == "plain" else None

    candidate = Problem(space=WITH_FORMS, refusal=refusal).candidate
    assert candidate(PLAIN) is None
    assert candidate({**PLAIN, "stage1.form": "bottleneck"}) is not None


def test_an_error_in_a_refusal_is_not_taken_for_one() -> None:
    def refusal(architecture: Any) -> str | None:
        raise ValueError("of the budget")

    with pytest.raises(ValueError, match="of the budget"):
        Problem(space=WITH_FORMS, refusal=refusal).candidate(PLAIN)


def test_a_vector_is_decoded_once() -> None:
    counting = Counting(space())
    problem = Problem(space=counting)
    for number in (0, 1, 0, 1, 0):
        problem.candidate(drawn(number))
    assert counting.decoded == 2


def test_old_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "REMEMBERED", 3)
    counting = Counting(space())
    problem = Problem(space=counting)
    for number in (0, 1, 2, 3, 0):
        problem.candidate(drawn(number))
    assert counting.decoded == 5


def test_problems_are_equal_where_what_they_say_is() -> None:
    of = space()
    assert Problem(space=of, refusal=str) == Problem(space=of, refusal=str) != Problem(space=of, refusal=str, epochs=2)
    assert "candidate" not in repr(Problem(space=of))
