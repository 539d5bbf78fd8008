"""The key of whoever is logged in: W&B gets it, and no file of the run folder does."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchers.tracking.wandb_tracker import WandbTracker
from tests.searchers.tracking.wandb_search import KEY, epoch, opened
from tests.searchers.tracking.wandb_server import WandbServer


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_no_file_has_the_key(mode: str, tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.address)
    tracker = opened(tmp_path, WandbTracker(project="windows", mode=mode))
    tracker.start(0, {"stage1.window": 0.5, "params": 1000})
    tracker.log(0, epoch(1, 0.5))
    tracker.finish(0, {"outcome": "completed", "error": 0.5, "epochs": 1})
    (note,) = tracker.close()
    assert (len(server.runs) == 1) == (mode == "online") and KEY not in note
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
