from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from searchers.tracking import tensorboard
from searchers.tracking.tensorboard import TensorBoardTracker
from searchers.tracking.tracker import Tracker
from tests.searchers.fakes import space
from tests.searchers.tracking.wandb_search import NOTICE, epoch

CONFIG = {"stage1.window": 0.5, "stage1.form": "plain", "params": 1000}


def opened(folder: Path) -> Tracker:
    return TensorBoardTracker().open(
        folder=folder, group="one", config={"seed": 0}, space=space(), objectives=("error",)
    )  # fmt: skip


def events(folder: Path, number: int) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard" / f"{number:04d}")).Reload()


def curve(read: EventAccumulator, name: str) -> dict[int, float]:
    points = read.Scalars(name)
    assert len({point.step for point in points}) == len(points), "a step twice"
    return {point.step: point.value for point in points}


def hparams(read: EventAccumulator) -> dict[str, Any]:
    """The row of a trial in the table of TensorBoard."""
    content = read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, str(value.WhichOneof("kind"))) for name, value in values.items()}


def test_a_search_reads_back(tmp_path: Path) -> None:
    tracker = opened(tmp_path)
    for number in range(2):
        tracker.start(number, {**CONFIG, "stage1.window": 0.5 + number, "fingerprint": None})
        tracker.log(number, epoch(1, 0.5))
    tracker.log(0, epoch(2, 0.25))
    tracker.finish(0, {"outcome": "completed", "error": 0.25, "best_error": 0.25, "epochs": 2})
    tracker.finish(1, {"outcome": "pruned", "error": 0.5, "epochs": 1, "rung": 0})
    assert tracker.close() == [f"TensorBoard: tensorboard --logdir {tmp_path}/tensorboard"]
    first, second = events(tmp_path, 0), events(tmp_path, 1)
    assert sorted(first.Tags()["scalars"]) == ["best_error", "epochs", "error", "train_loss", "validation_error"]
    assert curve(first, "validation_error") == {1: 0.5, 2: 0.25}
    assert curve(first, "train_loss") == {1: 1.0, 2: 0.5}
    assert curve(first, "error") == {2: 0.25}
    assert curve(second, "error") == {1: 0.5}
    assert hparams(first) == {"seed": 0, "trial": 0, **CONFIG, "state": "completed"}
    assert hparams(second) == {
        "seed": 0, "trial": 1, **CONFIG, "stage1.window": 1.5, "state": "pruned at rung 0 (epoch 1)"
    }  # fmt: skip


def test_a_failed_trial_and_a_duplicate_are_in_the_table(tmp_path: Path) -> None:
    tracker = opened(tmp_path)
    tracker.start(0, CONFIG)
    tracker.finish(0, {"outcome": "failed", "error": None, "reason": "Crash"})
    tracker.start(1, CONFIG)
    tracker.finish(1, {"outcome": "duplicate", "error": 0.25, "epochs": 2, "duplicate_of": 0})
    tracker.close()
    assert [hparams(events(tmp_path, number))["state"] for number in range(2)] == ["failed", "duplicate of 0"]
    assert curve(events(tmp_path, 1), "error") == {2: 0.25}


def test_a_killed_search_loses_nothing_and_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    killed = opened(tmp_path)
    killed.start(0, CONFIG)
    killed.log(0, epoch(1, 0.5))
    assert curve(events(tmp_path, 0), "validation_error") == {1: 0.5}, "nothing is kept back"
    resumed = opened(tmp_path)
    resumed.start(0, CONFIG)
    resumed.log(0, epoch(2, 0.25))
    resumed.finish(0, {"outcome": "completed", "error": 0.25, "epochs": 2})
    resumed.close()
    assert curve(events(tmp_path, 0), "validation_error") == {1: 0.5, 2: 0.25}
    killed.close()


def test_what_is_open_at_the_end_is_written(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    tracker = opened(tmp_path)
    tracker.start(0, CONFIG)
    tracker.log(0, epoch(1, 0.5))
    tracker.close()
    assert curve(events(tmp_path, 0), "validation_error") == {1: 0.5}
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_error_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        tracker = opened(tmp_path)
        for number in range(2):
            tracker.start(number, CONFIG)
            tracker.log(number, epoch(1, 0.5))
            tracker.finish(number, {"outcome": "completed", "error": 0.5})
        tracker.close()
    (message,) = caplog.messages
    assert message.startswith("tensorboard: NotADirectoryError: ") and message.endswith(NOTICE)


def test_without_its_package_it_is_refused_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"^tracker=tensorboard needs the package tensorboard: pip install tensorboard$"
    ):
        TensorBoardTracker()
