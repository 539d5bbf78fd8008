from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promotion.run
import searchers.run
from promotion.folder import PromotionFolder
from searchers import environment
from searchers.redaction import redacted, redacted_text
from searchers.run_folder import RunFolder
from seqconv.serialization import read_yaml


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:pass@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("storage=postgresql+psycopg2://me:p@ss@host/db x", "storage=postgresql+psycopg2://me:***@host/db x"),
        ("redis://:pass@host", "redis://:***@host"),
        ("python search.py tracker.api_key=abc trials=3", "python search.py tracker.api_key=*** trials=3"),
        ("+tracker.api_key=abc --password=x 'a.secret=b c'", "+tracker.api_key=*** --password=*** 'a.secret=***'"),
        ("WANDB_API_KEY=abc RAY_AUTH_TOKEN: abc", "WANDB_API_KEY=*** RAY_AUTH_TOKEN: ***"),
        ("token=''", "token=''"),
        ("https://host/path:1@2x?y=tokens", "https://host/path:1@2x?y=tokens"),
        ("keep_weights=5 trials=3 dataset.root=a@b:c", "keep_weights=5 trials=3 dataset.root=a@b:c"),
    ],
)
def test_passwords_and_keys_in_text(text: str, expected: str) -> None:
    assert redacted_text(text) == expected


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "RAY_AUTH_TOKEN", "PGPASSWORD"])
def test_the_keys_of_the_environment_wherever_they_stand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0123456789")
    assert redacted_text("it says x0123456789y") == "it says x***y"
    monkeypatch.setenv(name, "a")
    assert redacted_text("banana") == "banana"


def test_plain_data() -> None:
    data: dict[str, Any] = {
        "tracker": {"api_key": "abc", "apiKey": "abc", "project": "p"}, "password": 123, "token": None,
        "auth_token": "x", "storage": ["postgresql://me:pass@host/db"], "tokens": "kept", "seed": 0,
        "wandb-secret": "", 3: ("a",),
    }  # fmt: skip
    assert redacted(data) == {
        "tracker": {"api_key": "***", "apiKey": "***", "project": "p"}, "password": "***", "token": None,
        "auth_token": "***", "storage": ["postgresql://me:***@host/db"], "tokens": "kept", "seed": 0,
        "wandb-secret": "", 3: ["a"],
    }  # fmt: skip


def test_what_describes_a_run_or_a_promotion_is_written_without_them(tmp_path: Path) -> None:
    described = {"config": {"tracker": {"api_key": "abc"}, "storage": "postgresql://me:pass@host/db"}}
    RunFolder(tmp_path / "run").open({"search_space": {}, "dataset": {}, "trial": {}, "seed": 0}, described)
    PromotionFolder(tmp_path / "promotion").open({"choice": {}, "stages": {}, "processes": 1}, [], described)
    for folder in ("run", "promotion"):
        written = read_yaml(tmp_path / folder / "config.yaml")
        assert written == {"tracker": {"api_key": "***"}, "storage": "postgresql://me:***@host/db"}


def test_the_command_to_go_on_is_printed_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["search.py", "storage=postgresql://me:pass@host/db", "seed=1"])
    for module in (searchers.run, promotion.run):
        assert "search.py storage=postgresql://me:***@host/db seed=1 " in module._same_command(Path("runs/a"))
    monkeypatch.setattr("sys.argv", ["search.py", "+tracker.api_key=a b"])
    assert environment.describe("", "")["command"] == "search.py '+tracker.api_key=***'"
