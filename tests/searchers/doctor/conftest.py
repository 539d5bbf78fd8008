from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.searchers.doctor import runs


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that was killed in its last trial; nobody changes it."""
    return runs.killed(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "run"))
