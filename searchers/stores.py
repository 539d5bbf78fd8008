"""Where the trials of a search are kept: what conf/store makes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from search_spaces.space import SearchSpace
from searchers.redaction import HIDDEN, redacted_text
from searchers.run_folder import IN_JOURNAL, RunFolder, read_run
from seqconv import validation

if TYPE_CHECKING:
    from searchers.study import TrialStore

URL_VARIABLE = "SEQCONV_STORE_URL"
_DRIVER = "postgresql+psycopg"
_CONNECTION = {"connect_timeout": "10", "keepalives_idle": "30", "tcp_user_timeout": "60000"}
"""How soon a server that is gone without a word is noticed: seconds, seconds, milliseconds."""
_WRITE = "write postgresql://USER@HOST/DATABASE; the password may be in PGPASSWORD or ~/.pgpass"


class Store(Protocol):
    """The configuration of a store."""

    @property
    def where(self) -> str:
        """Stands in run.yaml: a run folder goes on with that store alone."""

    def check(self, identity: Mapping[str, Any]) -> None:
        """Before anything is begun.

        Raises:
            ValueError: the store cannot be used by a search of that identity.
        """

    def open(
        self,
        folder: RunFolder,
        space: SearchSpace,
        objectives: Sequence[str],
        identity: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> TrialStore:
        """The trials.

        Args:
            folder: of the search, which exists.
            space: whose knob values the trials have.
            objectives: what is minimised.
            identity: what the results depend on.
            say: told of what the user should know.
        """


@dataclass(frozen=True, kw_only=True)
class Journal:
    """A file in the run folder, written by one search at a time."""

    @property
    def where(self) -> str:
        return IN_JOURNAL

    def check(self, identity: Mapping[str, Any]) -> None: ...

    def open(
        self,
        folder: RunFolder,
        space: SearchSpace,
        objectives: Sequence[str],
        identity: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> TrialStore:
        from searchers.study import TrialStore  # Optuna takes a while

        return TrialStore(folder.path, space, objectives)


@dataclass(frozen=True, kw_only=True)
class Postgresql:
    """A study in a PostgreSQL database, on which several searches work at once.

    Raises:
        ValueError: a field of the wrong kind or out of range, naming it.
    """

    study: str
    """Name of the study: searches that give the same one work on it together."""
    url: str | None = None
    """Such as postgresql://user@host/database; null is that of SEQCONV_STORE_URL."""
    patience: float = 120.0
    """Seconds to try again where the database is out of reach, before the search stops."""
    takeover: float | None = 600.0
    """Seconds without a sign of life of a driver after which others go on with its open trials; null is never."""

    def __post_init__(self) -> None:
        if type(self.study) is not str or not self.study:
            raise ValueError(f"store.study must be a name, such as windows-1, got {self.study!r}")
        if self.url is not None:
            _address("store.url", self.url)
        validation.number("store.patience", self.patience, low=0)
        if self.takeover is not None:
            validation.number("store.takeover", self.takeover, low=120)

    @property
    def where(self) -> str:
        return f"study {self.study} in PostgreSQL"

    def check(self, identity: Mapping[str, Any]) -> None:
        from searchers.shared_study import check_study

        database = self._connect()
        try:
            check_study(database, self.study, identity)
        finally:
            database.engine.dispose()

    def open(
        self,
        folder: RunFolder,
        space: SearchSpace,
        objectives: Sequence[str],
        identity: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> TrialStore:
        from searchers.shared_study import Driver, SharedStore

        where = f"{socket.gethostname()}:{folder.path.resolve()}"
        store = SharedStore(
            self._connect(),
            study=self.study,
            folder=folder.path,
            driver=Driver(name=read_run(folder.path)["id"], where=where),
            space=space,
            objectives=objectives,
            identity=identity,
            patience=self.patience,
            takeover=self.takeover,
            say=say,
        )
        say(f"store: {self.where}, with {len(store.records())} trials")
        return store

    def _connect(self) -> Any:
        from searchers.shared_study import connect

        source, url = "store.url", self.url
        if url is None:
            source, url = URL_VARIABLE, os.environ.get(URL_VARIABLE)
        if not url:
            raise ValueError(f"store.url must be given, or {URL_VARIABLE} be set: {_WRITE}")
        try:
            return connect(_address(source, url), self.takeover)
        except ValueError as error:
            raise ValueError(f"{source}={redacted_text(url)}: {error}") from None


def _address(source: str, url: Any) -> str:
    """The URL as SQLAlchemy takes it.

    Raises:
        ValueError: it is none of PostgreSQL, or has a password that might be shown in part.
    """
    import sqlalchemy

    try:
        parsed = sqlalchemy.make_url(url)
    except (TypeError, sqlalchemy.exc.ArgumentError):
        raise ValueError(f"{source} is no URL of a database: {_WRITE}") from None
    if parsed.drivername not in ("postgresql", "postgres", _DRIVER):
        raise ValueError(f"{source} must be of PostgreSQL, got {parsed.drivername}://: {_WRITE}")
    if parsed.password and sqlalchemy.make_url(redacted_text(url)).password != HIDDEN:
        raise ValueError(f"{source}: the password has characters that must be written as %XX, such as %2F for /")
    made = parsed.set(drivername=_DRIVER, query={**_CONNECTION, **parsed.query})
    return made.render_as_string(hide_password=False)
