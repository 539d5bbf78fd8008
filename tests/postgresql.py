"""A PostgreSQL server of Debian's packages, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.search_process import free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1:]
MISSING = "no PostgreSQL server binaries here (Debian: apt-get install postgresql)"
PASSWORD = "correct-horse-9c1d"
ACCOUNT = "nobody"
"""Runs the server where the tests are run by root, which PostgreSQL refuses."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A cluster of its own on loopback, whose user `search` has a password."""

    folder: Path
    port: int

    def url(self, database: str = "search", *, password: str = PASSWORD, user: str = "search") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def control(self, *arguments: str) -> None:
        """pg_ctl."""
        log = self.folder / "log.txt"
        _run("pg_ctl", "--silent", "--wait", f"--pgdata={self.folder / 'data'}", f"--log={log}", *arguments)

    def start(self) -> None:
        settings = f"-p {self.port} -k {self.folder} -h 127.0.0.1 -c fsync=off -c max_connections=40"
        self.control("--options", settings, "start")

    def stop(self) -> None:
        """As in a crash of its machine."""
        self.control("--mode=immediate", "stop")

    def sql(self, statement: str, database: str = "postgres") -> None:
        """As the owner of the cluster."""
        _run(
            "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--host={self.folder}", f"--port={self.port}",
            "--username=owner", f"--dbname={database}", f"--command={statement}",
        )  # fmt: skip

    def database(self, name: str) -> str:
        """A fresh database, by URL."""
        self.sql(f"CREATE DATABASE {name} OWNER search")
        return self.url(name)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="seqconv-postgresql-"))
    if os.getuid() == 0:
        shutil.chown(folder, user=ACCOUNT)
    made = Server(folder=folder, port=free_port())
    try:
        _run(
            "initdb", f"--pgdata={folder / 'data'}", "--username=owner", "--auth-local=trust",
            "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync",
        )  # fmt: skip
        made.start()
        made.sql(f"CREATE USER search PASSWORD '{PASSWORD}'")
        yield made
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _run(name: str, *arguments: str) -> None:
    account = ["setpriv", f"--reuid={ACCOUNT}", "--clear-groups"] if os.getuid() == 0 else []
    command = [*account, str(BINARIES[0].parent / name), *arguments]
    # Not captured: the server would keep the pipe open.
    subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
