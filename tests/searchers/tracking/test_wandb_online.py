"""The real W&B client against a server on this machine: one that works, and ones that do not."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from searchers.tracking import wandb_tracker
from searchers.tracking.wandb_tracker import WandbTracker
from tests.searchers.tracking.wandb_search import GROUP, KEY, NOTICE, epoch, opened, until, upload
from tests.searchers.tracking.wandb_server import FORBID, HANG, OK, REFUSE, WandbServer


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, server: WandbServer) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.address)


def settings(close_timeout: float = 60) -> WandbTracker:
    return WandbTracker(project="windows", close_timeout=close_timeout)


def test_a_search_is_a_sweep_and_is_resumed_as_the_same(
    tmp_path: Path, server: WandbServer, caplog: pytest.LogCaptureFixture
) -> None:
    place = f"{server.address}/someone/windows/sweeps/sweep000"
    first = opened(tmp_path, settings())
    for number in range(2):
        first.start(number, {"stage1.window": 0.5 + number, "params": 1000})
        first.log(number, epoch(1, 0.5))
    first.finish(0, {"outcome": "completed", "error": 0.5, "epochs": 1})
    assert first.close() == [f"W&B: {place}"]
    begun = len(server.upserts)
    open_run = next(run for run in server.runs.values() if run.config["trial"]["value"] == 1)
    assert (open_run.rows[0]["epoch"], open_run.exit_code) == (1, 255)
    second = opened(tmp_path, settings())
    second.start(1, {"stage1.window": 1.5, "params": 1000})
    second.log(1, epoch(2, 0.25))
    second.finish(1, {"outcome": "pruned", "error": 0.25, "epochs": 2, "rung": 0})
    assert second.close() == [f"W&B: {place}"]

    (sweep,) = server.sweeps.values()
    assert (sweep["project"], sweep["name"]) == ("windows", GROUP)
    assert sweep["metric"] == {"name": "error", "goal": "minimize"}
    assert sweep["parameters"]["stage1.groups"] == {"values": [2, 4, 8]}
    runs = sorted(server.runs.values(), key=lambda run: str(run.display_name))
    for number, run in enumerate(runs):
        config = {name: value["value"] for name, value in run.config.items() if name != "_wandb"}
        assert config == {
            "searcher": "random", "seed": 0, "trial": number, "stage1.window": 0.5 + number, "params": 1000
        }  # fmt: skip
        assert (run.display_name, run.group, run.sweep) == (f"{GROUP}-{number:04d}", GROUP, "sweep000")
        assert run.steps == [row["epoch"] for row in run.rows]
        metrics = run.config["_wandb"]["value"]["m"]
        assert {"1": "epoch", "6": [3], "7": []} in metrics
        assert any(metric.get("2") == "*" and metrics[metric["5"] - 1]["1"] == "epoch" for metric in metrics)
    assert [run.rows for run in runs] == [
        [{"epoch": 1, "validation_error": 0.5, "train_loss": 1}],
        [{"epoch": i, "validation_error": 1 / 2**i, "train_loss": 2 / 2**i} for i in (1, 2)],
    ]
    assert [run.exit_code for run in runs] == [0, 0]
    assert [run.summary["state"] for run in runs] == ["completed", "pruned at rung 0 (epoch 2)"]
    assert {upsert["name"] for upsert in server.upserts[begun:]} == {runs[1].name}, "the first one has ended"
    assert caplog.messages == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_server_that_is_lost_on_the_way_gets_everything_once_it_is_back(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wandb_tracker, "_PAUSE", 0.1)
    tracker: Any = opened(tmp_path, settings(close_timeout=8))
    tracker.start(0, {})
    tracker.log(0, epoch(1, 0.5))
    until(lambda: server.runs)
    server.behaviour = REFUSE
    tracker.log(0, epoch(2, 0.25))
    tracker.start(1, {})
    tracker.log(1, epoch(1, 0.5))
    lost = tracker._process
    until(lambda: lost.poll() is not None)
    server.behaviour = OK
    with caplog.at_level(logging.WARNING):
        tracker.finish(0, {"outcome": "completed", "error": 0.25})
        time.sleep(0.1)
        tracker.finish(1, {"outcome": "completed", "error": 0.5})
        assert tracker._process not in (None, lost)
        until(lambda: len(server.runs) == 2 and all(run.exit_code == 0 for run in server.runs.values()))
        notes = tracker.close()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("wandb: CommError: ") and caplog.messages[0].endswith(NOTICE)
    assert notes == [f"W&B: {server.address}/someone/windows/sweeps/sweep000"]
    assert [(run.steps, run.exit_code) for run in server.runs.values()] == [([1, 2], 0), ([1], 0)]


@pytest.mark.slow
def test_a_server_that_takes_no_data_can_be_sent_to_later(
    tmp_path: Path, server: WandbServer, caplog: pytest.LogCaptureFixture
) -> None:
    """W&B's client drops the data of a run that the server refuses, and ends it well."""
    server.behaviour = FORBID
    tracker = opened(tmp_path, settings())
    tracker.start(0, {})
    tracker.log(0, epoch(1, 0.5))
    tracker.finish(0, {"outcome": "completed", "error": 0.5})
    with caplog.at_level(logging.WARNING):
        notes = tracker.close()
    (message,) = caplog.messages
    assert message.startswith("wandb: ConnectionError: filestream: fatal error: ") and "403 Forbidden" in message
    assert notes == [f"W&B, incomplete: upload it with python -m searchers.tracking.upload run={tmp_path}"]
    refused = upload(tmp_path)
    assert (refused.returncode, server.runs.popitem()[1].rows) == (1, [])
    assert "W&B has 0 of 1 trials that have ended" in refused.stdout
    server.behaviour = OK
    assert upload(tmp_path).returncode == 0
    (run,) = server.runs.values()
    assert (run.steps, run.sweep, run.exit_code) == ([1], "sweep000", 0)


@pytest.mark.slow
def test_a_server_that_hangs_costs_the_end_of_the_search_its_patience(
    tmp_path: Path, server: WandbServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviour = HANG
    tracker = opened(tmp_path, settings(close_timeout=3))
    tracker.start(0, {})
    tracker.finish(0, {"outcome": "completed", "error": 0.5})
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        notes = tracker.close()
    assert time.monotonic() - began < 4
    assert caplog.messages == [f"wandb: gave up after 3 s{NOTICE}"]
    assert notes == [f"W&B, incomplete: upload it with python -m searchers.tracking.upload run={tmp_path}"]
    assert server.runs == {}
