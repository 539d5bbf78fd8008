"""What a search that was killed goes on with, and what its proposals are made from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import searchers.session
from search_spaces.budget import Budget
from searchers.algorithms.random import RandomSearch
from searchers.algorithms.tpe import Tpe
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TRAINED
from searchers.searcher import Problem, Propose
from searchers.session import Session
from tests.searchers.fakes import Killed, Recorder, careless, drawn, session, space, store
from tests.searchers.runtime import (
    ONE_ARCHITECTURE,
    ONE_IN_MANY,
    TWO_ARCHITECTURES,
    crash,
    end,
    outcomes,
    proposed,
    run,
)


def test_a_resumed_search_adopts_what_was_open_first(tmp_path: Path) -> None:
    killed = session(tmp_path, trials=5)
    end(killed, proposed(killed).number)
    opened = [proposed(killed) for _ in range(2)]
    killed.on_epoch(opened[0].number, {"epoch": 1, "validation_error": 0.5})
    resumed = session(tmp_path, trials=5)
    for before in opened:
        now = proposed(resumed)
        assert (now.number, now.architecture, now.resumed) == (before.number, before.architecture, True)
    assert not proposed(resumed).resumed
    assert resumed.store.record(opened[0].number).errors == {1: 0.5}


def test_an_epoch_that_is_reported_again_after_a_restart_is_noted_once(tmp_path: Path) -> None:
    killed = session(tmp_path)
    number = proposed(killed).number
    killed.on_epoch(number, {"epoch": 1, "validation_error": 0.5})
    tracker = Recorder()
    resumed = session(tmp_path, tracker=tracker)
    proposed(resumed)
    resumed.on_epoch(number, {"epoch": 1, "validation_error": 0.9})
    resumed.on_epoch(number, {"epoch": 2, "validation_error": 0.4})
    resumed.on_end(number)
    assert resumed.store.record(number).errors == {1: 0.5, 2: 0.4}
    assert [name for name, _ in tracker.of(number)] == ["start", "log", "finish"]


def test_a_resumed_search_repeats_nothing(tmp_path: Path) -> None:
    before = run(session(tmp_path, TWO_ARCHITECTURES, trials=2))
    begun: list[int] = []
    again = session(tmp_path, TWO_ARCHITECTURES, trials=2, begin=lambda number, _: begun.append(number))
    assert again.done
    assert (run(again), begun) == (before, [])


def test_a_finished_search_is_extended(tmp_path: Path) -> None:
    before = run(session(tmp_path, trials=2))
    after = run(session(tmp_path, trials=5))
    assert after[: len(before)] == before
    assert outcomes(after)[COMPLETED] == 5


def test_a_tighter_budget_bounds_what_is_proposed_and_leaves_what_was_trained(tmp_path: Path) -> None:
    before = run(session(tmp_path, trials=4))
    assert any(record.facts["params"] > 1000 for record in before if record.outcome == COMPLETED)
    resumed = run(session(tmp_path, trials=7, budget=Budget(params=(None, 1000))))
    assert resumed[: len(before)] == before
    later = [record for record in resumed[len(before) :] if record.outcome == COMPLETED]
    assert [record.facts["params"] for record in later] == [1000] * 3


def test_a_duplicate_of_a_trial_before_the_resume_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searchers.session, "GIVE_UP", 3)
    run(session(tmp_path, ONE_ARCHITECTURE, trials=1))
    assert outcomes(run(session(tmp_path, ONE_ARCHITECTURE, trials=2))) == {COMPLETED: 1, DUPLICATE: 3}


def test_an_architecture_that_failed_before_the_resume_is_trained_when_it_is_proposed_again(tmp_path: Path) -> None:
    killed = session(tmp_path, ONE_ARCHITECTURE, trials=2)
    failed = end(killed, proposed(killed).number, crash)
    again = proposed(session(tmp_path, ONE_ARCHITECTURE, trials=2))
    assert (again.number, again.architecture.fingerprint()) == (1, failed.fingerprint)


SMALL = space(blocks=1, groups=2)
BINDS: dict[str, Callable[[], Propose]] = {
    "careless": lambda: careless(SMALL),
    "random": lambda: RandomSearch().bind(Problem(space=SMALL)),
    "tpe": lambda: Tpe(startup_trials=3).bind(Problem(space=SMALL)),
}


@pytest.mark.parametrize("name", BINDS)
def test_a_search_that_is_interrupted_after_every_trial_finds_what_an_unbroken_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(searchers.session, "RUT", 2)

    def begun(folder: Path) -> Session:
        return session(folder, SMALL, searcher=BINDS[name](), trials=6)

    unbroken = run(begun(tmp_path / "unbroken"))
    while not (broken := begun(tmp_path / "broken")).done:
        run(broken, at_most=1)
        broken.propose()  # killed once the next one was begun
    found = broken.store.records()
    assert (outcomes(found)[DUPLICATE] > 2) == (name == "careless")
    assert [(r.values, r.outcome, r.errors) for r in found] == [(r.values, r.outcome, r.errors) for r in unbroken]


def test_a_proposal_is_made_from_the_history_the_seed_and_the_number(tmp_path: Path) -> None:
    seen: list[tuple[list[str], float]] = []

    def propose(history: History, generator: np.random.Generator) -> dict[str, Any]:
        seen.append(([record.outcome for record in history], generator.random()))
        return drawn(len(history))

    search = session(tmp_path, searcher=propose, seed=7)
    first = proposed(search)
    second = proposed(search)
    end(search, first.number, crash)
    proposed(session(tmp_path, searcher=propose, seed=7))  # adopts what is open
    end(search, second.number, lambda *_: (0.5,))
    proposed(session(tmp_path, searcher=propose, seed=7))
    histories, numbers = zip(*seen, strict=True)
    assert histories == ([], [RUNNING], [FAILED, PRUNED])
    assert numbers == tuple(np.random.default_rng(np.random.SeedSequence([7, n])).random() for n in range(3))


def test_another_seed_proposes_something_else(tmp_path: Path) -> None:
    values = []
    for seed in (0, 1, 0):
        search = session(tmp_path / str(len(values)), seed=seed)
        values.append([search.store.record(proposed(search).number).values for _ in range(3)])
    assert values[0] == values[2] != values[1]


def blind_proposals(search: Session, *, kill_after: int = 1000) -> list[bool]:
    """Whether each of the next proposals is drawn blindly, up to a kill."""
    blind: list[bool] = []

    def noting(propose: Propose, blindly: bool) -> Propose:
        def noted(history: History, generator: np.random.Generator) -> Any:
            if len(blind) == kill_after:
                raise Killed
            blind.append(blindly)
            return propose(history, generator)

        return noted

    search.searcher, search._blind = noting(search.searcher, False), noting(search._blind, True)
    with contextlib.suppress(Killed):
        run(search)
    return blind


@pytest.mark.parametrize("killed_after", [0, 3, 6, 7])
def test_a_rut_is_left_by_blind_proposals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int) -> None:
    """Also where the search was killed in it."""
    monkeypatch.setattr(searchers.session, "RUT", 4)
    monkeypatch.setattr(searchers.session, "GIVE_UP", 8)
    first = session(tmp_path, ONE_IN_MANY, trials=2)
    end(first, proposed(first).number)
    blind = blind_proposals(first, kill_after=killed_after)
    second = session(tmp_path, ONE_IN_MANY, trials=2)
    assert blind + blind_proposals(second) == [False] * 4 + [True, False, True, False]
    assert second.stopped == "no new architecture within the budget in the last 8 proposals"


def test_an_open_trial_that_lacks_a_value_is_refused(tmp_path: Path) -> None:
    """As a search of a release that drew them one by one may have left it."""
    values = drawn(0)
    last, _ = values.popitem()
    store(tmp_path).begin(values, {})
    search = session(tmp_path, trials=1)
    records = run(search)
    assert [record.outcome for record in records if record.outcome in (REFUSED, *TRAINED)] == [REFUSED, COMPLETED]
    assert records[0].facts["reason"].endswith(f"knob {last} has no value")
