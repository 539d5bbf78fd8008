"""What the search sees of W&B, with processes that stand for the one that talks to it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from searchers.tracking import wandb_tracker
from searchers.tracking.ledger import read
from searchers.tracking.wandb_folder import WandbFolder
from searchers.tracking.wandb_tracker import WandbTracker
from tests.searchers.fakes import choices
from tests.searchers.tracking.wandb_search import GROUP, NOTICE, ROOT, epoch, opened, until

SAYS = """
import json, sys
print(json.dumps({said}), flush=True)
sys.stdin.read()
"""
ONLINE = SAYS.format(said={"online": 1, "url": "https://wandb.example/sweep"})
FAILS = 'import json; print(json.dumps({"warning": "CommError: no such host"})); raise SystemExit(1)'
DIES = "raise SystemExit(3)"
HANGS = "import time; time.sleep(60)"
UPLOAD = "python -m searchers.tracking.upload run="


def stand_in(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(wandb_tracker, "_PROCESS", ("-S", "-c", script))


def process_of(tracker: Any) -> subprocess.Popen[bytes]:
    process = tracker._process
    assert isinstance(process, subprocess.Popen)
    return process


def test_everything_that_is_told_is_in_the_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, HANGS)
    tracker = opened(tmp_path, WandbTracker(project="windows", close_timeout=0.1))
    tracker.start(3, {"stage1.window": 0.5})
    tracker.log(3, epoch(1, 0.5))
    tracker.finish(3, {"outcome": "completed", "error": 0.5})
    (told,) = read(WandbFolder(tmp_path).ledger).values()
    assert (told.number, told.config) == (3, {"stage1.window": 0.5})
    assert told.rows[1].keys() == {"epoch", "validation_error", "train_loss", "_timestamp"}
    assert told.summary == {"outcome": "completed", "error": 0.5}
    known = WandbFolder(tmp_path).known()
    assert (known.project, known.group, known.sweep_id) == ("windows", GROUP, None)
    assert known.config == {"searcher": "random", "seed": 0}
    assert known.sweep is not None and "stage1.window" in known.sweep["parameters"]
    tracker.close()


def test_a_call_keeps_nobody_waiting_and_the_end_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(monkeypatch, HANGS)
    tracker = opened(tmp_path, WandbTracker(close_timeout=0.4))
    process = process_of(tracker)
    began = time.monotonic()
    for number in range(100):
        tracker.start(number, {})
        tracker.log(number, epoch(1, 0.5))
        tracker.finish(number, {"outcome": "completed"})
    told = time.monotonic()
    with caplog.at_level(logging.WARNING):
        notes = tracker.close()
    assert told - began < 1
    assert 0.4 <= time.monotonic() - told < 5
    assert caplog.messages == [f"wandb: gave up after 0.4 s{NOTICE}"]
    assert notes == [f"W&B, incomplete: upload it with {UPLOAD}{tmp_path}"]
    assert process.returncode == -9


def test_the_end_tells_where_the_sweep_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, ONLINE)
    assert opened(tmp_path).close() == ["W&B: https://wandb.example/sweep"]


def test_the_end_tells_the_group_where_there_is_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, SAYS.format(said={"online": 1, "url": ""}))
    notes = opened(tmp_path, WandbTracker(project="windows"), of=choices()).close()
    assert notes == [f"W&B: group {GROUP} in project windows"]


def test_the_end_tells_how_to_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, SAYS.format(said={"online": 0, "url": ""}))
    folder = tmp_path / "a search"
    folder.mkdir()
    assert opened(folder).close() == [
        f"W&B, offline: upload it with python -m searchers.tracking.upload 'run={folder}'"
    ]


@pytest.mark.parametrize(
    ("script", "reason"), [(FAILS, "CommError: no such host"), (DIES, "its process ended with exit code 3, see {log}")]
)
def test_an_error_is_one_warning_and_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, script: str, reason: str
) -> None:
    stand_in(monkeypatch, script)
    monkeypatch.setattr(wandb_tracker, "_PAUSE", 0.2)
    tracker: Any = opened(tmp_path)
    with caplog.at_level(logging.WARNING):
        for attempt in range(2):
            process_of(tracker).wait()
            tracker.log(0, epoch(1, 0.5))
            assert tracker._process is None
            assert tracker._next - time.monotonic() <= 0.2 * 2**attempt
            tracker.log(0, epoch(2, 0.5))
            assert tracker._process is None, "tried again too soon"
            time.sleep(0.2 * 2**attempt)
            tracker.log(0, epoch(3, 0.5))
            assert tracker._process is not None
        notes = tracker.close()
    assert caplog.messages == ["wandb: " + reason.format(log=tmp_path / "wandb" / "process.log") + NOTICE]
    assert notes == [f"W&B, incomplete: upload it with {UPLOAD}{tmp_path}"]


def test_a_process_that_cannot_be_started_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with caplog.at_level(logging.WARNING):
        tracker = opened(tmp_path)
        tracker.start(0, {})
        tracker.close()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("wandb: FileNotFoundError: [Errno 2] No such file or directory: ")


def test_a_folder_that_cannot_be_written_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(monkeypatch, ONLINE)
    (tmp_path / "wandb").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        tracker = opened(tmp_path)
        tracker.start(0, {})
        tracker.close()
    assert [message.partition("]")[0] for message in caplog.messages] == ["wandb: FileExistsError: [Errno 17"]


def test_a_folder_that_is_lost_on_the_way_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(monkeypatch, ONLINE)
    tracker = opened(tmp_path)
    shutil.rmtree(tmp_path / "wandb")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            tracker.start(number, {})
        tracker.close()
    assert [message.partition("]")[0] for message in caplog.messages] == ["wandb: FileNotFoundError: [Errno 2"]


def test_ctrl_c_is_for_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    stand_in(monkeypatch, ONLINE)
    tracker = opened(tmp_path)
    assert os.getpgid(process_of(tracker).pid) != os.getpgid(0)
    tracker.close()


ABANDONED = """
import os, signal, sys
from pathlib import Path
from searchers.tracking import wandb_tracker
from tests.searchers.tracking.wandb_search import opened
wandb_tracker._PROCESS = ("-S", "-c", "import sys; sys.stdin.read(); open(sys.argv[1] + '/ended', 'w')")
opened(Path(sys.argv[1])).start(0, {})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_process_learns_of_a_killed_search(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", ABANDONED, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    until((tmp_path / "ended").exists)


def test_nothing_of_wandb_is_imported_by_the_search() -> None:
    program = "import sys, searchers.tracking.wandb_tracker; print({'wandb', 'torch', 'optuna'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "on"}, r"^tracker\.mode must be one of auto, online, offline, got 'on'"),
        ({"close_timeout": 0}, r"^tracker\.close_timeout must be a number above 0, got 0$"),
        ({"project": ""}, r"^tracker\.project must be a text of at most 128 characters without / \\ # \? % :, got ''$"),
        ({"project": "a/b"}, r"^tracker\.project must be a text .*, got 'a/b'$"),
        ({"entity": 7}, r"^tracker\.entity must be a text .*, got 7$"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WandbTracker(**fields)
