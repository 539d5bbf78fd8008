"""Whoever runs the tests may have a W&B account, and the tests of other files are offline by a variable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.searchers.tracking.wandb_server import WandbServer


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_ERROR_REPORTING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-config"))


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running
