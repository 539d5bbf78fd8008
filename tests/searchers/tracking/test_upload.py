"""What the upload refuses; what it sends is tested with the server."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from searchers.owned_folder import LOCK
from searchers.tracking.ledger import FINISH, Ledger
from searchers.tracking.upload import USAGE, main
from searchers.tracking.wandb_folder import Known, WandbFolder

KNOWN = Known(project="p", entity=None, group="one", config={}, sweep=None)


@pytest.mark.parametrize("arguments", [[], ["runs/one"], ["run="], ["run=a", "run=b"]])
def test_it_takes_one_run(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"error: {USAGE}\n"


def test_help_tells_how_to_call_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == f"{USAGE}\n"


def test_a_run_without_tracking_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"run={tmp_path}"]) == 2
    expected = f"error: {tmp_path}: holds no search that was tracked with tracker=wandb: "
    assert capsys.readouterr().err.startswith(expected)


def test_a_search_that_is_running_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WandbFolder(tmp_path).open(KNOWN)
    with FileLock(tmp_path / LOCK):
        assert main([f"run={tmp_path}"]) == 2
    assert capsys.readouterr().err == f"error: run={tmp_path}: its search is running; upload it once it has ended\n"


def test_the_process_of_a_killed_search_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = WandbFolder(tmp_path)
    folder.open(KNOWN)
    lock = FileLock(folder.path / ".lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    assert main([f"run={tmp_path}"]) == 0
    monkeypatch.setattr("searchers.tracking.upload._WAIT", 0.1)
    with lock:
        assert main([f"run={tmp_path}"]) == 2
    message = f"error: run={tmp_path}: another process has been sending it for 0.1 s; try again later\n"
    assert capsys.readouterr().err == message


def test_nobody_is_logged_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_DIR", "WANDB_SILENT", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")  # which the upload sets
    folder = WandbFolder(tmp_path)
    folder.open(KNOWN)
    Ledger(folder.ledger).append(FINISH, 0, {"summary": {"outcome": "completed"}})
    assert main([f"run={tmp_path}"]) == 1
    assert capsys.readouterr().err.startswith("error: W&B: UsageError: No API key configured. Use `wandb login`")


def test_a_search_without_a_trial_has_nothing_to_send(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WandbFolder(tmp_path).open(KNOWN)
    assert main([f"run={tmp_path}"]) == 0
    assert capsys.readouterr().out == "W&B has 0 of 0 trials that have ended: group one in project p\n"
