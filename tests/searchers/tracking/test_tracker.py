from __future__ import annotations

from pathlib import Path

from searchers.tracking.tracker import NoTracker


def test_no_tracking_takes_everything_and_writes_nothing(tmp_path: Path) -> None:
    tracker = NoTracker().open(folder=tmp_path, group="one", config={"seed": 0})
    tracker.start(0, {"params": 12})
    tracker.log(0, {"epoch": 1, "validation_error": 0.5})
    tracker.finish(0, {"outcome": "completed"})
    assert tracker.close() == []
    assert not any(tmp_path.iterdir())
