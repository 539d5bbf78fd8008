"""Searches on one study in a real PostgreSQL: what is refused, a server that goes away, a driver that is killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from searchers.record import COMPLETED, DRIVER, DUPLICATE, RUNNING, TRAINED, TrialRecord
from searchers.shared_study import Driver, SharedStore, connect
from searchers.stores import Postgresql
from tests.postgresql import BINARIES, MISSING, PASSWORD, Server, server
from tests.search_process import metrics_files, records, search
from tests.searchers.fakes import drawn, finish, space

pytestmark = pytest.mark.skipif(not BINARIES, reason=MISSING)

TRIALS, EPOCHS = 10, 2


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    with server() as made:
        yield made


def opened(url: str, folder: Path, name: str, said: list[str] | None = None) -> SharedStore:
    """One search."""
    return SharedStore(
        connect(url.replace("postgresql:", "postgresql+psycopg:"), 600),
        study="tiny",
        folder=folder / name,
        driver=Driver(name=name, where=f"host:{name}"),
        space=space(),
        objectives=("error",),
        identity={"seed": 0},
        patience=60,
        takeover=600,
        say=(said if said is not None else []).append,
    )


def refusal(**fields: Any) -> str:
    with pytest.raises(ValueError) as caught:
        Postgresql(study="tiny", **fields).check({})
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def test_what_is_wrong_with_a_url(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = f"store.url=postgresql://search:***@127.0.0.1:{postgresql.port}"
    nobody = refusal(url=f"postgresql://search:{PASSWORD}@127.0.0.1:1/nas")
    assert nobody.startswith("store.url=postgresql://search:***@127.0.0.1:1/nas: connection failed: ")
    assert "Connection refused" in nobody
    missing = refusal(url=postgresql.url("nowhere"))
    assert missing.startswith(f"{shown}/nowhere: ")
    assert missing.endswith('FATAL: database "nowhere" does not exist')
    assert 'password authentication failed for user "search"' in refusal(url=postgresql.url(password="guessed"))
    postgresql.sql("CREATE DATABASE foreign_one")
    assert "permission denied for schema public" in refusal(url=postgresql.url("foreign_one"))
    good = postgresql.database("by_environment")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    Postgresql(study="tiny", url=good.replace(f":{PASSWORD}", "")).check({})


def test_many_that_begin_at_once_get_numbers_of_their_own(postgresql: Server, tmp_path: Path) -> None:
    """Also the tables are made by whoever comes first, and the study is."""
    url, stores = postgresql.database("at_once"), dict[str, SharedStore]()

    def drive(name: str) -> None:
        stores[name] = opened(url, tmp_path, name)
        for number in range(6):
            finish(stores[name], stores[name].begin(drawn(number), {"fingerprint": f"{name}{number}"}), float("inf"))

    threads = [threading.Thread(target=drive, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [one.records() for one in stores.values()]
    assert found[0] == found[1] == found[2]
    assert [(record.number, record.errors) for record in found[0]] == [(n, {1: float("inf")}) for n in range(18)]
    assert {record.fingerprint for record in found[0]} == {f"{name}{number}" for name in "abc" for number in range(6)}
    for name, one in stores.items():
        one.close()
        copied = records(tmp_path / name)
        assert [record.fingerprint for record in copied] == [record.fingerprint for record in found[0]]


def test_a_server_that_comes_back_loses_nothing(postgresql: Server, tmp_path: Path) -> None:
    said: list[str] = []
    store = opened(postgresql.database("comes_back"), tmp_path, "a", said)
    record = store.begin(drawn(0), {"fingerprint": "abc"})
    postgresql.stop()
    back = threading.Timer(1.5, postgresql.start)
    back.start()
    ended = finish(store, record, 0.5, 0.25)
    back.join()
    assert (ended.outcome, ended.errors) == (COMPLETED, {1: 0.5, 2: 0.25})
    assert said[0].startswith("the store cannot be used, trying again for 60 s: ")
    assert said[-1] == "the store is back"
    assert store.records() == [ended]
    store.close()


def own(found: list[TrialRecord], name: Path) -> list[TrialRecord]:
    return [record for record in found if (record.where or "").endswith(f":{name}")]


@pytest.mark.slow
def test_two_drivers_of_which_one_is_killed_and_a_server_that_crashes(postgresql: Server, tmp_path: Path) -> None:
    url = postgresql.database("killed")
    folders = tmp_path / "a", tmp_path / "b"
    settings = (
        "store=postgresql", "store.study=tiny", f"trials={TRIALS}", f"trial.epochs={EPOCHS}", "scheduler=none",
        "concurrency=1", "backend.cpus=1",
    )  # fmt: skip
    environment = {"SEQCONV_STORE_URL": url}

    def begun(found: list[TrialRecord]) -> bool:
        mine = own(found, folders[0])
        return len(mine) >= 2 and mine[-1].outcome == RUNNING and bool(own(found, folders[1]))

    with (
        search(*settings, f"run={folders[0]}", environment=environment) as killed,
        search(*settings, f"run={folders[1]}", environment=environment) as other,
    ):
        before = own(killed.wait(folders[0], begun), folders[0])
        killed.kill()
        files = metrics_files(folders[0], before[:-1])
        postgresql.stop()
        other.hear("the store cannot be used, trying again")
        postgresql.start()
        with search(*settings, f"run={folders[0]}", f"store.url={url}") as again:
            said = [again.succeed(), other.succeed()]
    found = records(folders[0])
    trained = [record for record in found if record.outcome in TRAINED]
    assert [record.number for record in found] == list(range(len(found)))
    assert {record.outcome for record in found} <= {COMPLETED, DUPLICATE}
    assert len(trained) == len({record.fingerprint for record in trained}) == TRIALS
    assert [record.fingerprint for record in records(folders[1])] == [record.fingerprint for record in found]
    assert all(own(trained, folder) for folder in folders)
    assert [found[record.number].errors for record in before[:-1]] == [record.errors for record in before[:-1]]
    assert metrics_files(folders[0], before[:-1]) == files
    assert found[before[-1].number].facts[DRIVER] == before[-1].facts[DRIVER]  # gone on with by whose it was
    assert "the store is back" in said[1]
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert PASSWORD.encode() not in path.read_bytes(), path
    assert not any(PASSWORD in lines for lines in said)
