from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from search_spaces.knobs import Categorical
from searchers.algorithms.unseen import TRIES, unseen
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, RUNNING, TrialRecord
from searchers.searcher import Problem
from tests.searchers.algorithms.conformance import ToySpace

LETTERS = ToySpace(name="letters", knobs=(Categorical(name="x", choices=tuple("abcdef")),))
PROBLEM = Problem(space=LETTERS, refusal=lambda toy: "too large" if "'f'" in toy.name else None)


class Draws:
    """Proposes the letters one after the other, and then the last one for ever."""

    def __init__(self, letters: str) -> None:
        self.letters, self.asked = letters, 0

    def __call__(self, history: History, generator: np.random.Generator) -> Mapping[str, Any]:
        self.asked += 1
        return {"x": self.letters[min(self.asked, len(self.letters)) - 1]}


def history(**outcomes: str) -> History:
    records = [
        TrialRecord(number=i, outcome=outcome, values={"x": x}, facts={"fingerprint": PROBLEM.candidate({"x": x})})
        for i, (x, outcome) in enumerate(outcomes.items())
    ]
    return History(records)


def proposed(draws: Draws, of: History, **settings: Any) -> str | None:
    values = unseen(PROBLEM, draws, **settings)(of, np.random.default_rng(0))
    return None if values is None else str(values["x"])


def test_the_first_draw_that_is_not_known_and_may_be_trained_is_proposed() -> None:
    draws = Draws("fabcd")
    assert proposed(draws, history(a=COMPLETED, b=RUNNING, d=DUPLICATE)) == "c"
    assert draws.asked == 4
    assert proposed(Draws("abd"), history(a=COMPLETED, b=RUNNING, d=DUPLICATE)) == "d"


def test_where_all_draws_are_known_one_at_random_takes_their_place() -> None:
    known = history(**dict.fromkeys("abc", COMPLETED))
    for tries in (1, 3):
        draws = Draws("a")
        assert proposed(draws, known, tries=tries) in ("d", "e")
        assert draws.asked == tries
    draws = Draws("a")
    proposed(draws, known)
    assert draws.asked == TRIES


def test_where_everything_that_may_be_trained_is_known_nothing_is_left() -> None:
    assert proposed(Draws("f"), history(**dict.fromkeys("abcde", COMPLETED))) is None
