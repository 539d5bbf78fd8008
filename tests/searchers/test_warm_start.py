from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces.fixed import FixedSpace
from searchers.algorithms.random import RandomSearch
from searchers.history import History
from searchers.record import COMPLETED, FAILED, TrialRecord
from searchers.searcher import Problem, Propose
from searchers.session import Session
from searchers.warm_start import warm
from tests.searchers.fakes import choices, session
from tests.searchers.runtime import crash, end, outcomes, proposed, run

SPACE = choices(window=[1, 2, 3, 4, "dense"], blocks=[1, 2, 3])
GIVEN = [{"stage1.blocks": blocks, "stage1.window": window} for blocks, window in ((2, 1), (3, 2), (3, "dense"))]
PROBLEM = Problem(space=SPACE)


def nothing(*_: object) -> None:
    """A searcher that has nothing left."""


def begun(folder: Path, searcher: Propose | None = None) -> Session:
    return session(folder, SPACE, searcher=warm(searcher or RandomSearch().bind(PROBLEM), PROBLEM, GIVEN), trials=6)


def test_what_is_given_is_trained_first_and_learned_from_like_the_rest(tmp_path: Path) -> None:
    records = run(begun(tmp_path))
    assert [record.values for record in records[:3]] == GIVEN
    assert outcomes(records) == {COMPLETED: 6}


def test_a_killed_search_goes_on_with_what_was_not_proposed_yet(tmp_path: Path) -> None:
    killed = begun(tmp_path)
    end(killed, proposed(killed).number)
    opened = proposed(killed)
    resumed = begun(tmp_path)
    assert (proposed(resumed).number, proposed(resumed).number) == (opened.number, 2)
    assert [record.values for record in resumed.store.records()] == GIVEN
    assert proposed(resumed).number == 3
    assert len({record.fingerprint for record in resumed.store.records()}) == 4


def test_what_failed_is_not_proposed_again(tmp_path: Path) -> None:
    search = begun(tmp_path, nothing)
    for _ in GIVEN:
        end(search, proposed(search).number, crash if len(search.history) == 1 else lambda *_: (0.5, 0.4))
    assert (search.propose(), outcomes(search.store.records())) == (None, {FAILED: 1, COMPLETED: 2})


def test_what_an_earlier_search_of_the_folder_has_is_not_proposed_again(tmp_path: Path) -> None:
    run(session(tmp_path, SPACE, searcher=warm(nothing, PROBLEM, GIVEN[1:2])))
    assert [record.values for record in run(begun(tmp_path, nothing))] == [GIVEN[1], GIVEN[0], GIVEN[2]]


def test_the_same_network_is_proposed_once() -> None:
    """With two groups, windows from three on read everything."""
    history, names = History(), []
    propose = warm(nothing, PROBLEM, [*GIVEN, {**GIVEN[2], "stage1.window": 4}, GIVEN[0]])
    while (values := propose(history, None)) is not None:  # type: ignore[arg-type]
        names.append(PROBLEM.candidate(values))
        facts = {"fingerprint": names[-1]}
        history.put(TrialRecord(number=len(history), outcome=COMPLETED, values=values, facts=facts))
    assert names == [PROBLEM.candidate(values) for values in GIVEN]


def test_what_may_not_be_trained_is_left_out() -> None:
    problem = Problem(space=SPACE, refusal=lambda architecture: "deep" if architecture.stages[0].blocks > 2 else None)
    propose = warm(nothing, problem, [GIVEN[1], {"stage1.blocks": 9}, GIVEN[0]])
    assert propose(History(), None) == GIVEN[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("vectors", [[], [{}]])
def test_the_vector_of_a_space_without_knobs_is_one_too(vectors: list[dict[str, int]]) -> None:
    problem = Problem(space=FixedSpace(architecture="cifar_b_small"))
    propose = warm(nothing, problem, vectors)
    assert propose(History(), None) == (vectors[0] if vectors else None)  # type: ignore[arg-type]
