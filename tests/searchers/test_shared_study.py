"""What a store promises, of a journal and of a database; and what is promised to several drivers of one study."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from searchers import shared_study
from searchers.record import COMPLETED, DRIVER, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING
from searchers.shared_study import connect
from searchers.study import TrialStore, read_records
from tests.searchers.fakes import begin, drawn, finish, store
from tests.searchers.shared import TAKEOVER, Drivers

Open = Callable[..., TrialStore]


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[Drivers]:
    made = Drivers(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["journal", "database"])
def opened(request: pytest.FixtureRequest, drivers: Drivers) -> Open:
    """Opens the store of one search, once more for the same one."""
    if request.param == "database":
        return drivers.store
    return lambda **settings: store(drivers.folder_of("a"), **settings)


def plain(record: Any) -> tuple[Any, ...]:
    facts = {name: value for name, value in record.facts.items() if name not in ("started", "finished", DRIVER)}
    return record.number, record.outcome, dict(record.values), record.errors, facts


def test_a_trial_from_its_beginning_to_its_end(opened: Open) -> None:
    first = opened()
    record = first.begin(drawn(0), {"fingerprint": "abc", "architecture": {"stages": [1]}})
    assert plain(record) == (0, RUNNING, drawn(0), {}, {"fingerprint": "abc", "architecture": {"stages": [1]}})
    first.note(0, {"latency": 2.5})
    assert (first.report(0, 1, 0.5), first.report(0, 1, 0.1), first.report(0, 2, float("inf"))) == (True, False, True)
    ended = first.finish(0, PRUNED, {"seconds": 1.5}, {"latency": 0.25})
    assert (ended.errors, ended.facts["latency"], ended.facts["violations"]) == (
        {1: 0.5, 2: float("inf")},
        2.5,
        {"latency": 0.25},
    )
    assert first.records() == [first.record(0)] == [ended]
    assert opened().records() == [ended]


def test_what_is_closed_at_once(opened: Open) -> None:
    first = opened()
    original = finish(first, begin(first, fingerprint="abc"), 0.5, 0.25)
    refused = first.refuse(drawn(1), {"reason": "too large"}, {"params": 0.5})
    duplicate = first.duplicate(drawn(2), {"fingerprint": "abc"}, original)
    number = begin(first, fingerprint="abc").number
    late = first.finish_duplicate(number, original)
    assert [record.number for record in (original, refused, duplicate, late)] == [0, 1, 2, 3]
    assert (refused.outcome, refused.facts["reason"], refused.facts["violations"]) == (
        REFUSED,
        "too large",
        {"params": 0.5},
    )
    for record in (duplicate, late):
        assert (record.outcome, record.errors, record.facts["duplicate_of"]) == (DUPLICATE, {1: 0.5, 2: 0.25}, 0)
    assert opened().records() == [original, refused, duplicate, late]


def test_what_was_open_is_gone_on_with(opened: Open) -> None:
    before = begin(opened(), params=12)
    again = opened()
    assert [(again.owns(record), plain(record)) for record in again.records()] == [(True, plain(before))]
    assert finish(again, before, 0.5, outcome=FAILED, facts={"reason": "out of luck"}).short_reason == "out of luck"
    assert begin(again).number == 1


def test_several_objectives(opened: Open) -> None:
    first = opened(objectives=("error", "params"))
    ended = finish(first, begin(first, params=12), 0.5)
    assert opened(objectives=("error", "params")).records() == [ended]


def test_numbers_are_unique_and_everybody_hears_of_everything(drivers: Drivers) -> None:
    a, b = drivers.store("a"), drivers.store("b")
    first, second, third = begin(a), begin(b), begin(a)
    assert [first.number, second.number, third.number] == [0, 1, 2]
    assert [record.number for record in b.news()] == [0, 1, 2]
    finish(a, first)
    refused = a.refuse(drawn(9), {"reason": "too large"}, {})
    ended, *_, last = b.news()
    assert (ended, last) == (a.record(0), refused)
    assert a.records() == b.records()
    assert {record.number for record in b.news()} == {1, 2}  # what is open is looked at each time
    assert [a.owns(record) for record in b.records()] == [True, False, True, True]
    assert second.where == f"host:{drivers.folder_of('b')}"


def test_only_what_is_open_or_new_is_asked_for(drivers: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    a = drivers.store("a")
    for _ in range(3):
        finish(a, begin(a))
    a.news()
    read: list[int] = []
    real = optuna.storages.RDBStorage._build_frozen_trial_from_trial_model

    def counted(self: Any, trial: Any) -> Any:
        read.append(trial.number)
        return real(self, trial)

    monkeypatch.setattr(optuna.storages.RDBStorage, "_build_frozen_trial_from_trial_model", counted)
    assert (a.news(), read) == ([], [])
    begin(a)
    del read[:]
    assert ([record.number for record in a.news()], read) == ([3], [3])


def test_the_run_folder_has_a_copy_of_all_trials(drivers: Drivers) -> None:
    a, b = drivers.store("a"), drivers.store("b")
    ended = finish(a, begin(a, fingerprint="abc"), 0.5, 0.25)
    open_ = begin(b)
    a.refuse(drawn(7), {"reason": "too large"}, {"params": 0.5})
    b.duplicate(drawn(8), {"fingerprint": "abc"}, ended)
    b.report(open_.number, 1, 0.75)
    for name, one in (("a", a), ("b", b)):
        one.news()
        assert [plain(record) for record in read_records(drivers.folder_of(name))] == list(map(plain, a.records()))
    b.report(open_.number, 2, 0.5)
    b.finish(open_.number, COMPLETED, {"seconds": 1.0}, {"latency": 0.5})
    a.close()
    assert [plain(record) for record in read_records(drivers.folder_of("a"))] == list(map(plain, b.records()))


def test_a_copy_that_is_damaged_is_made_again(drivers: Drivers) -> None:
    a = drivers.store("a")
    finish(a, begin(a))
    a.close()
    (drivers.folder_of("a") / "study.journal").write_bytes(b"no journal\n")
    again = drivers.store("a")
    assert list(map(plain, read_records(drivers.folder_of("a")))) == list(map(plain, again.records()))


def test_a_study_that_has_lost_trials_is_refused(drivers: Drivers) -> None:
    a = drivers.store("a")
    for _ in range(2):
        begin(a)
    a.close()
    optuna.delete_study(study_name="tiny", storage=drivers.url)
    folder = drivers.folder_of("a")
    with pytest.raises(ValueError) as caught:
        drivers.store("a")
    counts = f"has 0 trials, and {folder} knows of 2"
    assert str(caught.value) == (f"store.study=tiny {counts}: it is another study of that name, or an older copy of it")
    other = drivers.store("b")
    for number in (5, 6):
        other.begin(drawn(number), {})
    with pytest.raises(ValueError) as caught:
        drivers.store("a")
    assert str(caught.value) == f"{folder / 'study.journal'} has another trial 0 than its study: pass another run="


def test_a_study_of_another_search_is_refused(drivers: Drivers) -> None:
    drivers.store("a", identity={"seed": 0, "sizes": {1: (16, 24)}})
    drivers.store("a", identity={"seed": 0, "sizes": {1: (16, 24)}})
    with pytest.raises(ValueError) as caught:
        drivers.store("b", identity={"seed": 1, "sizes": {1: (16, 24)}})
    advice = "Pass another store.study=, or the settings of the searches that work on it"
    assert str(caught.value) == (f"store.study=tiny belongs to another search: seed is 0 there and 1 here. {advice}")
    assert not drivers.folder_of("b").exists()


def test_of_two_first_drivers_one_says_what_the_study_is_of(drivers: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has looked before, and found no study."""
    real = shared_study.check_study

    def late(database: Any, name: str, identity: Any) -> None:
        monkeypatch.setattr(shared_study, "check_study", real)
        drivers.store("a", identity={"seed": 1})

    monkeypatch.setattr(shared_study, "check_study", late)
    with pytest.raises(ValueError, match=r"^store.study=tiny belongs to another search: seed is 1 there and 0 here"):
        drivers.store("b")


def test_a_study_of_something_else_is_refused(drivers: Drivers) -> None:
    optuna.create_study(storage=drivers.url, study_name="tiny").optimize(lambda trial: 0.5, n_trials=1)
    with pytest.raises(ValueError) as caught:
        drivers.store()
    assert str(caught.value) == "store.study=tiny is a study of something else; pass another store.study="


def test_trials_of_a_silent_driver_are_taken_over_once(drivers: Drivers) -> None:
    gone = drivers.store("gone")
    ended, open_ = finish(gone, begin(gone)), begin(gone)
    gone.close()
    a, b, never = drivers.store("a"), drivers.store("b"), drivers.store("never", takeover=None)

    def owners() -> list[str]:
        """Of the open trials, after everybody has looked."""
        for one in (never, a, b):
            one._looked = -math.inf
            found = one.news()
        return [record.facts[DRIVER]["name"] for record in found]

    drivers.silent(TAKEOVER - 60)
    assert owners() == ["gone"]
    drivers.silent(TAKEOVER + 60)
    assert owners() == ["a"]
    assert a.record(open_.number).where == f"host:{drivers.folder_of('a')}"
    assert a.record(ended.number).where == f"host:{drivers.folder_of('gone')}"


def test_an_open_trial_gives_signs_of_life(drivers: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_study, "BEAT", 0.05)
    a, b = drivers.store("a"), drivers.store("b")
    begin(a)
    drivers.silent(TAKEOVER + 60)
    time.sleep(1)
    assert [b.owns(record) for record in b.news()] == [False]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/study.db", "unable to open database file"),
        ("oracle+nothing://host/db", "Can't load plugin: sqlalchemy.dialects:oracle.nothing"),
    ],
)
def test_what_is_no_database(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        connect(url)


def test_a_database_whose_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"psycopg.*: pip install 'seqconv-nas\[postgresql\]'$"):
        connect("postgresql+psycopg://host/db")
