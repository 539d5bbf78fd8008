from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from searchers import stores
from searchers.run_folder import RunFolder, check_identity
from searchers.stores import URL_VARIABLE, Journal, Postgresql
from tests.searchers.fakes import begin, space

URL = "postgresql://search@db/nas"
WRITE = "write postgresql://USER@HOST/DATABASE; the password may be in PGPASSWORD or ~/.pgpass"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"study": ""}, "store.study must be a name, such as windows-1, got ''"),
        ({"study": 5}, "store.study must be a name, such as windows-1, got 5"),
        ({"url": "db/nas"}, f"store.url is no URL of a database: {WRITE}"),
        ({"url": 5}, f"store.url is no URL of a database: {WRITE}"),
        ({"url": "sqlite:///nas.db"}, f"store.url must be of PostgreSQL, got sqlite://: {WRITE}"),
        (
            {"url": "postgresql://search:a/b@db/nas"},
            "store.url: the password has characters that must be written as %XX, such as %2F for /",
        ),
        ({"patience": -1}, "store.patience must be a number at least 0, got -1"),
        ({"takeover": 60}, "store.takeover must be a number at least 120, got 60"),
    ],
)
def test_a_bad_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Postgresql(**{"study": "tiny", **fields})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("field", "variable"),
    [
        (URL, None),
        (None, URL),
        ("postgres://search@db/nas", "postgresql://other@db/nas"),
        (f"{URL}?connect_timeout=10", ""),
    ],
)
def test_where_the_url_comes_from(monkeypatch: pytest.MonkeyPatch, field: str | None, variable: str | None) -> None:
    monkeypatch.setenv(URL_VARIABLE, variable or "")
    asked: list[str] = []
    monkeypatch.setattr("searchers.shared_study.connect", lambda url, takeover: asked.append(url))
    Postgresql(study="tiny", url=field)._connect()
    assert asked == ["postgresql+psycopg://search@db/nas?connect_timeout=10&keepalives_idle=30&tcp_user_timeout=60000"]


@pytest.mark.parametrize("variable", [None, ""])
def test_a_url_must_be_there(monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(URL_VARIABLE, variable)
    with pytest.raises(ValueError) as caught:
        Postgresql(study="tiny").check({})
    assert str(caught.value) == f"store.url must be given, or {URL_VARIABLE} be set: {WRITE}"


def test_a_url_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "mysql://search:hidden@db/nas")
    with pytest.raises(ValueError) as caught:
        Postgresql(study="tiny").check({})
    assert str(caught.value) == (
        f"{URL_VARIABLE}=mysql://search:***@db/nas: {URL_VARIABLE} must be of PostgreSQL, got mysql://: {WRITE}"
    )


def test_a_journal_is_in_the_run_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    Journal().check({})
    begin(Journal().open(folder, space(), ("error",), {}, print))
    assert (tmp_path / "study.journal").is_file()


@pytest.mark.parametrize(
    ("there", "here"),
    [
        (Postgresql(study="a"), Journal()),
        (Journal(), Postgresql(study="a")),
        (Postgresql(study="a"), Postgresql(study="b")),
        (None, Postgresql(study="a")),
    ],
)
def test_a_run_folder_goes_on_with_its_store_alone(tmp_path: Path, there: Any, here: Any) -> None:
    """Also one that a release began that knew of no others."""
    identity = {"search_space": {"name": "tiny"}, "dataset": {"name": "shapes"}, "trial": {}, "seed": 0}
    folder = RunFolder(tmp_path)
    folder.open(identity if there is None else {**identity, "store": there.where}, {})
    folder.close()
    where = "journal" if there is None else there.where
    with pytest.raises(ValueError) as caught:
        check_identity(tmp_path, {**identity, "store": here.where})
    message = f"run={tmp_path} belongs to another search: store is {where!r} there and {here.where!r} here. "
    assert str(caught.value).startswith(message)
    check_identity(tmp_path, {**identity, "store": where})


def test_a_password_is_not_written(tmp_path: Path) -> None:
    plain = {"store": {"url": "postgresql://search:correct%2Fhorse@db/nas?password=battery", "study": "tiny"}}
    folder = RunFolder(tmp_path)
    folder.open({"search_space": {}, "dataset": {}, "trial": {}, "seed": 0}, {"config": plain})
    folder.close()
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written == {"store": {"url": "postgresql://search:***@db/nas?password=***", "study": "tiny"}}
    assert stores.HIDDEN == "***"
