"""Drivers of one study in a file of SQLite, through the same classes as in PostgreSQL."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy

from searchers.session import Session
from searchers.shared_study import Driver, SharedStore, connect
from tests.searchers.fakes import session, space

TAKEOVER = 600.0


@functools.cache
def _tables() -> bytes:
    """A database without a study."""
    with tempfile.TemporaryDirectory() as folder:
        connect(f"sqlite:///{folder}/study.db").engine.dispose()
        return Path(folder, "study.db").read_bytes()


def _unsafe(connection: Any, _: Any) -> None:
    """Faster, and as safe as a test has to be."""
    connection.execute("PRAGMA synchronous = OFF")


class Drivers:
    """Opens stores and sessions of the same study, and closes them at last.

    Args:
        folder: where the database and the run folders are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        self.url = f"sqlite:///{folder / 'study.db'}"
        (folder / "study.db").write_bytes(_tables())
        self._opened: list[SharedStore] = []

    def folder_of(self, name: str) -> Path:
        return self.folder / name

    def store(self, name: str = "a", **changes: Any) -> SharedStore:
        """That of one driver; again that of the same one, as after a restart."""
        settings: dict[str, Any] = {
            "study": "tiny",
            "folder": self.folder_of(name),
            "driver": Driver(name=name, where=f"host:{self.folder_of(name)}"),
            "space": space(),
            "objectives": ("error",),
            "identity": {"seed": 0},
            "patience": 0,
            "takeover": TAKEOVER,
            "say": self.said.append,
        }
        database = connect(self.url, TAKEOVER)
        database.engine.dispose()
        sqlalchemy.event.listen(database.engine, "connect", _unsafe)
        made = SharedStore(database, **{**settings, **changes})
        self._opened.append(made)
        return made

    def session(self, name: str = "a", of: Any = None, **changes: Any) -> Session:
        """The search of one driver."""
        store = self.store(name, **({} if of is None else {"space": of}))
        return session(self.folder_of(name), of, **{"store": store, **changes})

    def close(self) -> None:
        for store in self._opened:
            store.close()

    def silent(self, seconds: float) -> None:
        """No open trial was heard of for so long."""
        engine = sqlalchemy.create_engine(self.url)
        with engine.begin() as connection:
            moment = f"datetime('now', '-{seconds:.0f} seconds')"
            connection.execute(sqlalchemy.text(f"UPDATE trial_heartbeats SET heartbeat = {moment}"))
        engine.dispose()
