"""A small search that is tracked with the real W&B client, and what is left of it on the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.util import get_core_path

from search_spaces.space import SearchSpace
from searchers.tracking.tracker import Tracker
from searchers.tracking.wandb_tracker import WandbTracker
from tests.searchers.fakes import space

ROOT = Path(__file__).parents[3]
KEY = "0123456789" * 4
GROUP = "tiny-digits-ab12"
NOTICE = "; the search goes on, and its folder has every result"


def opened(folder: Path, tracker: WandbTracker | None = None, of: SearchSpace | None = None) -> Tracker:
    return (tracker or WandbTracker()).open(
        folder=folder,
        group=GROUP,
        config={"searcher": "random", "seed": 0},
        space=of or space(),
        objectives=("error", "params"),
    )


def epoch(number: int, error: float) -> dict[str, Any]:
    """As a trial reports it, with what Ray Tune adds."""
    return {"epoch": number, "validation_error": error, "train_loss": 2 * error, "pid": 12, "trial_id": "x"}


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def upload(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command, in a folder where it must leave nothing."""
    command = [sys.executable, "-m", "searchers.tracking.upload", f"run={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, env=environment, check=False)
        assert not any(Path(elsewhere).iterdir())
    return done


@dataclass
class LocalRun:
    """What W&B's own reader finds in the file of one run."""

    settings: dict[str, Any]
    config: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    step_metrics: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history without what W&B adds."""
        return [{k: v for k, v in row.items() if not k.startswith("_")} for row in self.history]


def local_runs(folder: Path) -> dict[str, LocalRun]:
    """The offline runs of a run folder by the name that a person reads."""
    runs = [_read(path) for path in sorted(folder.glob("wandb/offline-run-*"))]
    by_name = {run.settings["display_name"]: run for run in runs}
    assert len(by_name) == len(runs)
    return by_name


def _read(folder: Path) -> LocalRun:
    # What `wandb leet inspect --json` runs, without a second for the import of wandb each time.
    arguments = ["--no-observability", "--json", "--run-file", str(next(folder.glob("*.wandb"))), str(folder.parent)]
    command = [get_core_path(), "leet", "inspect", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    settings = next(r["run"] for r in records if r["type"] == "run")
    config = {name: value for name, value in settings["config"]["update"].items() if name != "_wandb"}
    run = LocalRun(settings, config)
    for record in records:
        content = record[record["type"]]
        if record["type"] == "history":
            run.history.append(content["item"])
        elif record["type"] == "summary":
            run.summary |= content["update"]
        elif record["type"] == "metric" and "step_metric" in content:
            run.step_metrics[content["glob_name"]] = content["step_metric"]
        elif record["type"] == "exit":
            run.exit_code = content.get("exit_code", 0)
    return run
