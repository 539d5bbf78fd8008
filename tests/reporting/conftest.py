"""Simulated runs that the tests of reports share, and must leave as they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reporting.reading import read_runs
from reporting.runs import Run
from tests.reporting.simulated import keep_weights, simulate

TRIALS = 48


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """A kill of the process loses nothing that was written; only a crash of the machine would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that has ended, with the weights of one trial."""
    path = simulate(tmp_path_factory.mktemp("runs") / "first", trials=TRIALS, seed=3, failures=0.1)
    keep_weights(path, 0)
    return path


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, of an older version, without shares of the time."""
    return simulate(tmp_path_factory.mktemp("runs") / "second", trials=TRIALS // 2, seed=4, shares=False)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The first one, to do with as one likes."""
    return Path(shutil.copytree(folder, tmp_path / "runs" / "first"))


@pytest.fixture(scope="session")
def one(folder: Path) -> list[Run]:
    return read_runs([folder])[0]


@pytest.fixture(scope="session")
def both(folder: Path, other: Path) -> list[Run]:
    return read_runs([folder, other])[0]


@pytest.fixture(scope="session")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """A search that was killed before any trial had a result."""
    return read_runs([simulate(tmp_path_factory.mktemp("runs") / "empty", trials=0)])[0]
