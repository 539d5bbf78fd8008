"""A search that is killed, resumed, read back with W&B's own reader and uploaded to a server on this machine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from searchers.tracking.upload import main
from searchers.tracking.wandb_tracker import WandbTracker
from tests.searchers.tracking.wandb_search import (
    GROUP,
    KEY,
    ROOT,
    LocalRun,
    epoch,
    local_runs,
    opened,
    upload,
)  # fmt: skip
from tests.searchers.tracking.wandb_server import REFUSE, WandbServer

SETTINGS = WandbTracker(project="windows", mode="offline")
COST = {"params": 1000, "macs": 10_000, "serial_depth": 4, "fingerprint": "ab12"}
FOREIGN = {"WANDB_RUN_ID": "other", "WANDB_SWEEP_ID": "other", "WANDB_RESUME": "must", "WANDB_NAME": "other"}
"""As set by a W&B agent that runs search.py."""
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.searchers.tracking.test_wandb_offline import first_part
first_part(Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def first_part(folder: Path) -> None:
    """One trial that is completed, one that fails, and one that is open when the search is killed."""
    tracker = opened(folder, SETTINGS)
    for number in range(3):
        tracker.start(number, {"stage1.window": 0.5 + number, **COST})
        tracker.log(number, epoch(1, 0.5))
    tracker.log(0, epoch(2, 0.25))
    tracker.log(0, epoch(3, 0.375))
    tracker.finish(0, {"outcome": "completed", "error": 0.375, "epochs": 3, "seconds": 1.5})
    tracker.finish(1, {"outcome": "failed", "error": None, "epochs": 1, "reason": "Crash: out of luck"})


def second_part(folder: Path) -> list[str]:
    """The open one is stopped early, one is a duplicate, and one is left open."""
    tracker = opened(folder, SETTINGS)
    tracker.start(2, {"stage1.window": 2.5, **COST})
    tracker.log(2, epoch(2, 0.4375))
    tracker.finish(2, {"outcome": "pruned", "error": 0.4375, "epochs": 2, "rung": 1})
    tracker.start(3, {"stage1.window": 0.5, **COST})
    tracker.finish(3, {"outcome": "duplicate", "error": 0.375, "epochs": 3, "duplicate_of": 0})
    tracker.start(4, {"stage1.window": 1.75, **COST})
    tracker.log(4, epoch(1, 0.5))
    return tracker.close()


@dataclass
class Ended:
    """What is left of the search."""

    folder: Path
    notes: list[str]
    runs: list[LocalRun]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://127.0.0.1:9", **FOREIGN}.items():
            patch.setenv(name, value)
        killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, check=False)
        assert killed.returncode == -9
        notes = second_part(folder)
    runs = local_runs(folder)
    assert sorted(runs) == [f"{GROUP}-{number:04d}" for number in range(5)]
    return Ended(folder, notes, [run for _, run in sorted(runs.items())])


def test_every_trial_is_one_run_of_the_group_of_the_search(ended: Ended) -> None:
    assert {run.settings["project"] for run in ended.runs} == {"windows"}
    assert {run.settings["run_group"] for run in ended.runs} == {GROUP}
    assert len({run.settings["run_id"] for run in ended.runs}) == 5


def test_the_configuration_of_a_run_is_flat(ended: Ended) -> None:
    for number, (run, window) in enumerate(zip(ended.runs, (0.5, 1.5, 2.5, 0.5, 1.75), strict=True)):
        assert run.config == {"searcher": "random", "seed": 0, "trial": number, "stage1.window": window, **COST}


def test_the_history_of_a_run_has_every_epoch_once(ended: Ended) -> None:
    errors = [(0.5, 0.25, 0.375), (0.5,), (0.5, 0.4375), (), (0.5,)]
    for run, expected in zip(ended.runs, errors, strict=True):
        rows = [{"epoch": i, "validation_error": e, "train_loss": 2 * e} for i, e in enumerate(expected, start=1)]
        assert run.rows == rows
        assert [row["_step"] for row in run.history] == [row["epoch"] for row in rows]
        assert run.step_metrics == {"*": "epoch"}
        times = [row["_timestamp"] for row in run.history]
        assert times == sorted(times)


def test_the_summary_of_a_run_tells_how_it_ended(ended: Ended) -> None:
    known = ("state", "outcome", "error", "best_error", "epochs", "reason", "duplicate_of", "seconds")
    summaries = [{name: run.summary[name] for name in known if name in run.summary} for run in ended.runs]
    assert summaries == [
        {"state": "completed", "outcome": "completed", "error": 0.375, "best_error": 0.25, "epochs": 3, "seconds": 1.5},
        {"state": "failed", "outcome": "failed", "best_error": 0.5, "epochs": 1, "reason": "Crash: out of luck"},
        {
            "state": "pruned at rung 1 (epoch 2)", "outcome": "pruned", "error": 0.4375, "best_error": 0.4375,
            "epochs": 2,
        },
        {"state": "duplicate of 0", "outcome": "duplicate", "error": 0.375, "epochs": 3, "duplicate_of": 0},
        {},
    ]  # fmt: skip
    assert [run.exit_code for run in ended.runs] == [0, 1, 0, 0, 255]


def test_the_end_tells_the_command_that_uploads(ended: Ended) -> None:
    assert ended.notes == [f"W&B, offline: upload it with python -m searchers.tracking.upload run={ended.folder}"]


def test_the_key_is_nowhere_in_the_folder(ended: Ended) -> None:
    files = [path for path in ended.folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_the_upload_makes_the_sweep_and_attaches_every_run(
    ended: Ended, server: WandbServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address, **FOREIGN}.items():
        monkeypatch.setenv(name, value)
    whole = next(ended.folder.glob("wandb/offline-run-*/whole"))
    whole.unlink()  # of a process that was killed before it had written all
    done = upload(ended.folder)
    assert done.returncode == 0, done.stderr
    place = f"{server.address}/someone/windows/sweeps/sweep000"
    assert f"W&B has 4 of 4 trials that have ended: {place}" in done.stdout
    (sweep,) = server.sweeps.values()
    assert (sweep["project"], sweep["name"], sweep["metric"]) == (
        "windows", GROUP, {"name": "error", "goal": "minimize"}
    )  # fmt: skip
    assert sweep["parameters"]["stage1.window"] == {"distribution": "q_uniform", "q": 0.25, "min": 0.25, "max": 2.0}
    sent = {run.display_name: run for run in server.runs.values()}
    assert sorted(sent) == [f"{GROUP}-{number:04d}" for number in range(4)], "the last one has not ended"
    for number, run in enumerate(ended.runs[:4]):
        there = sent[f"{GROUP}-{number:04d}"]
        assert (there.name, there.sweep, there.group) == (run.settings["run_id"], "sweep000", GROUP)
        assert {name: value["value"] for name, value in there.config.items() if name != "_wandb"} == run.config
        assert there.rows == run.rows
        assert there.summary["state"] == run.summary["state"]
        assert there.exit_code == run.exit_code
    server.behaviour = REFUSE  # nothing is left to be said
    capsys.readouterr()
    assert main([f"run={ended.folder}"]) == 0
    assert capsys.readouterr().out == (
        f"W&B has 4 of 4 trials that have ended: {place}\n"
        "1 more were open when the search stopped; they follow once it has gone on\n"
    )
    assert not [path for path in ended.folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
