"""How runs are begun, gone on with and ended, with objects that stand for those of W&B."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wandb

from searchers.tracking.ledger import Told
from searchers.tracking.wandb import OPEN, Runs, sign_in
from searchers.tracking.wandb_folder import Known, WandbFolder

KNOWN = Known(project="windows", entity="team", group="one", config={"seed": 0}, sweep=None, sweep_id="abc")


class FakeRun:
    """Stands for a run of W&B."""

    def __init__(self, folder: Path, starting_step: int) -> None:
        self.dir, self.starting_step = str(folder / "files"), starting_step
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.defined: list[tuple[str, str | None]] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.wandb").write_text("records")

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.defined.append((name, step_metric))

    def log(self, row: dict[str, Any], *, step: int, commit: bool) -> None:
        assert commit, "W&B would hold the epoch back until the next one"
        self.rows.append((step, {name: value for name, value in row.items() if not name.startswith("_")}))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


class FakeWandb:
    """Remembers the runs that were begun."""

    def __init__(self) -> None:
        self.runs: list[FakeRun] = []
        self.settings: list[dict[str, Any]] = []
        self.starting_step = 0

    def init(self, **settings: Any) -> FakeRun:
        kind = "offline-run" if settings["mode"] == "offline" else "run"
        folder = Path(settings["dir"]) / "wandb" / f"{kind}-2026_{len(self.runs)}-{settings['id']}"
        self.settings.append(settings)
        self.runs.append(FakeRun(folder, self.starting_step))
        return self.runs[-1]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setattr(wandb, "init", fake.init)
    return fake


def told(number: int = 3, errors: tuple[float, ...] = (0.5,), summary: dict[str, Any] | None = None) -> Told:
    rows = {i: {"epoch": i, "validation_error": error, "_timestamp": float(i)} for i, error in enumerate(errors, 1)}
    return Told(number=number, began=0.0, config={"stage1.window": 0.5}, rows=rows, summary=summary)


def runs(folder: Path, *, online: bool, patience: float = 60) -> Runs:
    return Runs(WandbFolder(folder), KNOWN, online=online, patience=patience)


@pytest.mark.parametrize("online", [True, False])
def test_how_a_run_begins(tmp_path: Path, made: FakeWandb, online: bool) -> None:
    runs(tmp_path, online=online).show(told())
    (settings,), (run,) = made.settings, made.runs
    assert (settings["project"], settings["entity"], settings["group"]) == ("windows", "team", "one")
    assert (settings["name"], settings["id"]) == ("one-0003", KNOWN.run_id(3))
    assert settings["config"] == {"seed": 0, "stage1.window": 0.5, "trial": 3}
    assert settings["mode"] == ("online" if online else "offline")
    assert settings["resume"] == ("allow" if online else None), "an offline run is whole and replaces what W&B has"
    assert (settings["dir"], settings["reinit"]) == (str(tmp_path), "create_new")
    assert settings["settings"].sweep_id == "abc"
    assert run.defined == [("epoch", None), ("*", "epoch")]
    assert run.rows == [(1, {"epoch": 1, "validation_error": 0.5})]


def test_wandb_waits_no_longer_than_the_search_would(tmp_path: Path, made: FakeWandb) -> None:
    for number, patience in enumerate((8, 600)):
        runs(tmp_path, online=True, patience=patience).show(told(number))
    waits = [(each["settings"].init_timeout, each["settings"].finish_timeout) for each in made.settings]
    assert waits == [(8, 8), (20, 600)]


def test_a_run_is_named_after_the_search_and_the_trial() -> None:
    ids = {Known(project="p", entity=None, group=g, config={}, sweep=None).run_id(n) for g in "ab" for n in range(3)}
    assert len(ids) == 6
    assert all(len(run_id) == 12 and "-" not in run_id for run_id in ids)
    assert KNOWN.run_id(3) == "9b5a27e48386", "a search that is resumed by a later version goes on with its runs"


def test_what_was_shown_is_not_shown_again(tmp_path: Path, made: FakeWandb) -> None:
    shown = runs(tmp_path, online=False)
    shown.show(told())
    shown.show(told(errors=(0.5, 0.4)))
    shown.show(told(errors=(0.5, 0.4)))
    assert [step for step, _ in made.runs[0].rows] == [1, 2]


@pytest.mark.parametrize(
    ("summary", "exit_code"),
    [
        ({"outcome": "completed", "error": 0.3, "epochs": 3}, 0),
        ({"outcome": "failed", "error": None, "reason": "Crash"}, 1),
        ({"outcome": "pruned", "error": 0.3, "epochs": 3, "rung": 0}, 0),
    ],
)
def test_how_a_run_ends(tmp_path: Path, made: FakeWandb, summary: dict[str, Any], exit_code: int) -> None:
    runs(tmp_path, online=False).show(told(errors=(0.5, 0.2, 0.3), summary=summary))
    (run,) = made.runs
    assert run.exit_code == exit_code
    assert run.summary["best_error"] == 0.2
    assert run.summary["outcome"] == summary["outcome"]
    assert run.summary["state"].startswith(summary["outcome"])
    assert None not in run.summary.values()


def test_a_duplicate_has_an_end_and_no_epochs(tmp_path: Path, made: FakeWandb) -> None:
    summary = {"outcome": "duplicate", "error": 0.2, "duplicate_of": 1}
    runs(tmp_path, online=False).show(told(errors=(), summary=summary))
    assert made.runs[0].rows == []
    assert made.runs[0].summary == {**summary, "state": "duplicate of 1"}


def test_a_trial_that_is_open_is_left_to_be_gone_on_with(tmp_path: Path, made: FakeWandb) -> None:
    shown = runs(tmp_path, online=False)
    shown.show(told())
    shown.close()
    assert made.runs[0].exit_code == OPEN
    assert WandbFolder(tmp_path).settled(sent=False) == {}


def test_an_offline_run_takes_the_place_of_an_earlier_one(tmp_path: Path, made: FakeWandb) -> None:
    for errors in ((0.5,), (0.5, 0.4)):
        runs(tmp_path, online=False).show(told(errors=errors))
    (left,) = tmp_path.glob("wandb/offline-run-*")
    assert left.name.startswith("offline-run-2026_1-")
    assert [step for step, _ in made.runs[1].rows] == [1, 2]


def test_an_online_run_goes_on_after_what_wandb_has(tmp_path: Path, made: FakeWandb) -> None:
    made.starting_step = 3
    runs(tmp_path, online=True).show(told(errors=(0.5, 0.4, 0.3, 0.2)))
    assert [step for step, _ in made.runs[0].rows] == [3, 4]


@pytest.mark.parametrize("online", [True, False])
def test_what_is_settled(tmp_path: Path, made: FakeWandb, online: bool) -> None:
    shown = runs(tmp_path, online=online)
    shown.show(told(0, summary={"outcome": "completed"}))
    shown.show(told(1))
    folder = WandbFolder(tmp_path)
    assert list(folder.settled(sent=False)) == [KNOWN.run_id(0)]
    assert list(folder.settled(sent=True)) == ([KNOWN.run_id(0)] if online else [])


def test_a_run_whose_file_is_empty_is_not_settled(tmp_path: Path, made: FakeWandb) -> None:
    shown = runs(tmp_path, online=False)
    shown.show(told(0))
    written = next(Path(made.runs[0].dir).parent.glob("*.wandb"))
    written.write_text("")
    with pytest.raises(OSError, match=f"{written} is empty, as on a full disk"):
        shown.show(told(0, summary={"outcome": "completed"}))
    assert WandbFolder(tmp_path).settled(sent=False) == {}


@pytest.mark.parametrize("variable", ["offline", "disabled", "dryrun"])
def test_wandb_may_be_told_to_be_offline(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)
    monkeypatch.setattr(wandb, "Api", None)
    assert sign_in("auto") is None
    assert sign_in("offline") is None


def test_nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def api(**_: Any) -> None:
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "Api", api)
    assert sign_in("auto") is None
    with pytest.raises(wandb.errors.UsageError, match="No API key"):
        sign_in("online")
