from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from searchers.tracking.tracker import METRICS, NoTracker, ended, shown
from tests.searchers.fakes import space
from training.trainer import EpochMetrics


def test_no_tracking_takes_everything_and_writes_nothing(tmp_path: Path) -> None:
    tracker = NoTracker().open(
        folder=tmp_path, group="one", config={"seed": 0}, space=space(), objectives=("error",)
    )  # fmt: skip
    tracker.start(0, {"params": 12})
    tracker.log(0, {"epoch": 1, "validation_error": 0.5})
    tracker.finish(0, {"outcome": "completed"})
    assert tracker.close() == []
    assert not any(tmp_path.iterdir())


def test_all_that_training_measures_of_an_epoch_is_shown() -> None:
    assert set(METRICS) == {field.name for field in fields(EpochMetrics)}


def test_what_else_a_trial_reports_is_not_shown() -> None:
    reported = {"epoch": 1, "validation_error": 0.5, "data_seconds": None, "pid": 12, "trial_id": "x", "done": False}
    assert shown(reported) == {"epoch": 1, "validation_error": 0.5}


@pytest.mark.parametrize(
    ("summary", "state"),
    [
        ({"outcome": "completed", "error": 0.5, "epochs": 9}, "completed"),
        ({"outcome": "pruned", "epochs": 3, "rung": 1}, "pruned at rung 1 (epoch 3)"),
        ({"outcome": "pruned", "epochs": 3}, "pruned at epoch 3"),
        ({"outcome": "failed", "error": None, "reason": "Crash"}, "failed"),
        ({"outcome": "duplicate", "duplicate_of": 4}, "duplicate of 4"),
        ({"outcome": "refused"}, "refused"),
        ({"outcome": "pruned", "state": "in words"}, "in words"),
        ({}, "unknown"),
    ],
)
def test_the_end_of_a_trial_in_words(summary: dict[str, Any], state: str) -> None:
    assert ended(summary)["state"] == state


def test_what_is_not_known_of_an_end_is_left_out() -> None:
    assert ended({"outcome": "failed", "error": None, "reason": "", "seconds": 0.0}) == {
        "outcome": "failed", "seconds": 0.0, "state": "failed"
    }  # fmt: skip
