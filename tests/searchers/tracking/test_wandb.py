from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import wandb

from search_spaces.budget import Budget
from searchers.record import COMPLETED, FAILED, PRUNED, TrialRecord
from searchers.session import Session
from searchers.tracking.wandb import WandbTracker
from tests.searchers.fakes import measure, space, store

ROOT = Path(__file__).parents[3]
KEY = "0123456789" * 4
NOTICE = "; the search goes on, and its folder has every result"


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs this may have a key; and the tests of other files are offline by a variable."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ERROR_REPORTING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def address(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


@dataclass
class Run:
    """What W&B's own reader finds in the file of one run."""

    settings: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def read(folder: Path) -> Run:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    run = Run(settings=next(r["run"] for r in records if r["type"] == "run"))
    for record in records:
        if record["type"] == "history":
            run.history.append({k: v for k, v in record["history"]["item"].items() if not k.startswith("_")})
        elif record["type"] == "summary":
            run.summary |= record["summary"]["update"]
        elif record["type"] == "exit":
            run.exit_code = record["exit"].get("exit_code", 0)
    return run


def search(folder: Path, tracker: WandbTracker) -> tuple[list[TrialRecord], list[str]]:
    """Four trials: one completed, one stopped early, one failed, one that is still open."""
    opened = tracker.open(folder=folder, group="tiny-digits-ab12", config={"searcher": "random", "seed": 0})
    of = space()
    session = Session(
        space=of, store=store(folder, of=of), budget=Budget(), tracker=opened, measure=measure, trials=4, epochs=2,
        max_failures=2, begin=lambda number, architecture: None, say=lambda line: None,
    )  # fmt: skip
    for errors, failure in (((0.5, 0.25), None), ((0.75,), None), ((), "Crash: out of luck"), ((0.5,), None)):
        assignment = session.propose()
        assert assignment is not None
        for epoch, error in enumerate(errors, start=1):
            session.on_epoch(assignment.number, {"epoch": epoch, "validation_error": error, "note": "text"})
        if session.store.record(assignment.number).number < 3:
            session.on_end(assignment.number, failure=failure)
    return session.store.records(), opened.close()


def test_an_offline_search_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: socket.socket) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", address(server))
    records, notes = search(tmp_path, WandbTracker(project="windows"))
    assert notes == [f"W&B, offline: wandb sync {tmp_path}/wandb/offline-run-*"]
    server.settimeout(0)
    with pytest.raises(BlockingIOError):
        server.accept()  # nobody called
    runs = {run.settings["display_name"]: run for run in map(read, sorted(tmp_path.glob("wandb/offline-run-*")))}
    assert sorted(runs) == [f"tiny-digits-ab12-{record.number:04d}" for record in records]
    for record in records:
        run = runs[f"tiny-digits-ab12-{record.number:04d}"]
        assert (run.settings["project"], run.settings["run_group"]) == ("windows", "tiny-digits-ab12")
        config = {name: value for name, value in run.settings["config"]["update"].items() if name != "_wandb"}
        cost = {
            name: record.facts[name]
            for name in ("params", "macs", "paper_flops", "serial_depth", "unread_groups", "activation_bytes")
        }
        search_wide = {"trial": record.number, "searcher": "random", "seed": 0, "fingerprint": record.fingerprint}
        assert config == {**record.values, **cost, **search_wide}
        assert run.history == [{"epoch": epoch, "validation_error": error} for epoch, error in record.errors.items()]
    ends = [runs[f"tiny-digits-ab12-{number:04d}"] for number in range(4)]
    assert [run.summary.get("outcome") for run in ends] == [COMPLETED, PRUNED, FAILED, None]
    assert [run.summary.get("error") for run in ends] == [0.25, 0.75, None, None]
    assert ends[2].summary["reason"] == "Crash: out of luck"
    assert [run.exit_code for run in ends] == [0, 0, 1, 255]


def test_a_resumed_search_goes_on_with_the_same_runs(tmp_path: Path) -> None:
    for epoch in (1, 2):
        tracker = WandbTracker().open(folder=tmp_path, group="one", config={})
        tracker.start(0, {})
        tracker.log(0, {"epoch": epoch, "validation_error": 0.5})
        tracker.close()
    first, second = (read(path) for path in sorted(tmp_path.glob("wandb/offline-run-*")))
    assert first.settings["run_id"] == second.settings["run_id"]
    assert sorted(row["epoch"] for run in (first, second) for row in run.history) == [1, 2]


class FakeRun:
    """Stands for a run of W&B."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.rows, self.summary, self.exit_code = settings, [], {}, None  # type: ignore[var-annotated]

    def log(self, row: dict[str, Any], step: int) -> None:
        if row.get("validation_error") == "broken":
            raise ValueError("broken row")
        self.rows.append((step, row))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


Init = Callable[..., FakeRun]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """The runs that were begun, in order."""
    runs: list[FakeRun] = []

    def init(**settings: Any) -> FakeRun:
        runs.append(FakeRun(**settings))
        return runs[-1]

    monkeypatch.setattr(wandb, "init", init)
    return runs


def track(tracker: WandbTracker, folder: Path, trials: int = 2, group: str = "one") -> list[str]:
    opened = tracker.open(folder=folder, group=group, config={})
    for number in range(trials):
        opened.start(number, {})
        opened.log(number, {"epoch": 1, "validation_error": 0.5})
        opened.finish(number, {"outcome": "completed", "error": 0.5})
    return opened.close()


@pytest.mark.parametrize(
    ("mode", "environment", "netrc", "used"),
    [
        ("auto", {}, None, "offline"),
        ("auto", {"WANDB_API_KEY": KEY}, None, "online"),
        ("auto", {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, None, "offline"),
        ("auto", {}, "machine api.wandb.ai login user password x", "online"),
        ("auto", {}, "machine example.org login user password x", "offline"),
        ("offline", {"WANDB_API_KEY": KEY}, None, "offline"),
        ("online", {}, None, "online"),
    ],
)
def test_runs_are_offline_unless_a_key_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[FakeRun], mode: str, environment: dict[str, str],
    netrc: str | None, used: str,
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if netrc is not None:
        Path(os.environ["NETRC"]).write_text(netrc)
    notes = track(WandbTracker(mode=mode, project="windows"), tmp_path)
    assert [run.settings["mode"] for run in made] == [used, used]
    expected = "W&B: group one in project windows" if used == "online" else "W&B, offline: wandb sync "
    assert notes[0].startswith(expected)


def test_a_run_is_named_after_the_search_and_the_trial(tmp_path: Path, made: list[FakeRun]) -> None:
    for group in ("one", "two", "one"):
        track(WandbTracker(), tmp_path, group=group)
    ids = [run.settings["id"] for run in made]
    assert ids[:2] == ids[4:]
    assert len(set(ids)) == 4
    assert [run.settings["name"] for run in made[:2]] == ["one-0000", "one-0001"]
    assert {run.settings["dir"] for run in made} == {str(tmp_path)}


def test_wandb_itself_waits_no_longer_than_the_search_would(tmp_path: Path, made: list[FakeRun]) -> None:
    for close_timeout in (8, 600):
        track(WandbTracker(close_timeout=close_timeout), tmp_path, trials=1)
    waits = [(run.settings["settings"].init_timeout, run.settings["settings"].finish_timeout) for run in made]
    assert waits == [(2, 4), (20, 300)]


def test_what_is_logged(tmp_path: Path, made: list[FakeRun]) -> None:
    opened = WandbTracker().open(folder=tmp_path, group="one", config={"seed": 0})
    opened.start(3, {"stage1.window": 0.5})
    opened.log(3, {"epoch": 1, "validation_error": 0.5, "train_loss": float("nan"), "trial_id": "x", "pid": 12})
    opened.finish(3, {"outcome": "failed", "error": None})
    opened.close()
    (run,) = made
    assert run.settings["config"] == {"seed": 0, "stage1.window": 0.5, "trial": 3}
    ((step, row),) = run.rows
    assert (step, sorted(row)) == (1, ["epoch", "train_loss", "validation_error"])
    assert (run.summary, run.exit_code) == ({"outcome": "failed"}, 1)


def test_an_error_of_wandb_becomes_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**_: Any) -> None:
        raise wandb.errors.CommError("the server\n  is on fire")

    monkeypatch.setattr(wandb, "init", fails)
    with caplog.at_level(logging.WARNING):
        track(WandbTracker(), tmp_path, trials=3)
    assert caplog.messages == [f"wandb: CommError: the server is on fire{NOTICE}"]


def test_a_server_that_fails_makes_the_rest_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, made: list[FakeRun]
) -> None:
    working = wandb.init

    def fails_online(**settings: Any) -> Any:
        if settings["mode"] == "online":
            raise wandb.errors.CommError("no such host")
        return working(**settings)

    monkeypatch.setattr(wandb, "init", fails_online)
    with caplog.at_level(logging.WARNING):
        notes = track(WandbTracker(mode="online"), tmp_path)
    assert [run.settings["mode"] for run in made] == ["offline", "offline"]
    assert [run.rows for run in made] == [[(1, {"epoch": 1, "validation_error": 0.5})]] * 2
    assert caplog.messages == [f"wandb: CommError: no such host{NOTICE}"]
    assert notes == [f"W&B, offline: wandb sync {tmp_path}/wandb/offline-run-*"]


def test_a_server_that_is_lost_on_the_way_leaves_runs_of_both_kinds(tmp_path: Path, made: list[FakeRun]) -> None:
    opened = WandbTracker(mode="online").open(folder=tmp_path, group="one", config={})
    opened.start(0, {})
    opened.log(0, {"validation_error": 0.5})  # without its epoch: an error
    opened.start(1, {})
    assert opened.close() == [f"W&B, offline: wandb sync {tmp_path}/wandb/*run-*"]
    assert [run.settings["mode"] for run in made] == ["online", "offline"]


def test_an_error_in_one_run_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, made: list[FakeRun]
) -> None:
    opened = WandbTracker().open(folder=tmp_path, group="one", config={})
    monkeypatch.setattr(FakeRun, "log", _break_the_first(FakeRun.log))
    with caplog.at_level(logging.WARNING):
        for number in range(2):
            opened.start(number, {})
            opened.log(number, {"epoch": 1, "validation_error": 0.5})
            opened.finish(number, {"outcome": "completed"})
        opened.close()
    assert [(len(run.rows), run.exit_code) for run in made] == [(0, 0), (1, 0)]
    assert caplog.messages == [f"wandb: ValueError: broken row{NOTICE}"]


def _break_the_first(log: Callable[..., None]) -> Callable[..., None]:
    calls = iter(range(1000))

    def breaking(self: FakeRun, row: dict[str, Any], step: int) -> None:
        if next(calls) == 0:
            raise ValueError("broken row")
        log(self, row, step)

    return breaking


def test_a_call_that_hangs_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()
    monkeypatch.setattr(wandb, "init", lambda **_: released.wait(60))
    began = time.monotonic()
    opened = WandbTracker(close_timeout=0.4).open(folder=tmp_path, group="one", config={})
    for number in range(3):
        opened.start(number, {})
        opened.log(number, {"epoch": 1, "validation_error": 0.5})
        opened.finish(number, {"outcome": "completed"})
    told = time.monotonic()
    with caplog.at_level(logging.WARNING):
        opened.close()
    closed = time.monotonic()
    released.set()
    for thread in threading.enumerate():
        if thread.name == "wandb":
            thread.join()
    assert told - began < 0.1
    assert 0.2 <= closed - told < 2
    assert caplog.messages == [f"wandb: gave up after 0.2 s{NOTICE}"]


UNREACHABLE = """
import sys
from pathlib import Path
from searchers.tracking.wandb import WandbTracker
opened = WandbTracker(close_timeout=6).open(folder=Path(sys.argv[1]), group="one", config={})
opened.start(0, {})
opened.finish(0, {"outcome": "completed"})
opened.close()
print("closed", flush=True)
"""


def test_a_server_that_never_answers_does_not_keep_the_process(tmp_path: Path, server: socket.socket) -> None:
    """W&B waits once more when the interpreter ends."""
    environment = {**os.environ, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": address(server)}
    command = [sys.executable, "-c", UNREACHABLE, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "closed\n"
        began = time.monotonic()
        assert process.wait(timeout=60) == 0
        assert time.monotonic() - began < 5
        assert NOTICE in process.stderr.read()
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "on"}, r"^tracker\.mode must be one of auto, online, offline, got 'on'"),
        ({"close_timeout": 0}, r"^tracker\.close_timeout must be a number above 0, got 0$"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WandbTracker(**fields)
