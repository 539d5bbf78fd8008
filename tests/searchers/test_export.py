from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import seqconv
from searchers.export import ExportRequest, export_trial
from searchers.record import COMPLETED, FAILED, PRUNED
from searchers.run_folder import RunFolder
from searchers.study import TrialStore
from seqconv import Architecture
from seqconv.serialization import read_yaml, to_yaml
from tests.searchers.fakes import choices, finish, store

ROOT = Path(__file__).parents[2]
CLASSES, PIXELS = 3, 16
IDENTITY: dict[str, Any] = {
    "search_space": {"name": "tiny"},
    "dataset": {
        "name": "shapes", "classes": CLASSES, "resolution": PIXELS, "class_names": ["disc", "ring", "bar"],
        "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
    },
    "trial": {"epochs": 2, "learning_rate": 0.1},
    "seed": 0,
}  # fmt: skip
SPACE = choices(window=[1, 2], form=["plain", "bottleneck"])


def train(
    run: RunFolder, opened: TrialStore, *errors: float, outcome: str = COMPLETED, weights: bool = True
) -> Architecture:
    record = opened.ask()
    architecture = SPACE.decode(record.values)
    opened.note(record.number, {"architecture": architecture.to_dict(), "fingerprint": architecture.fingerprint()})
    finish(opened, record, *errors, outcome=outcome)
    run.trial(record.number).mkdir()
    if weights:
        torch.manual_seed(record.number)
        model = seqconv.build(architecture, classes=CLASSES)
        torch.save(model.state_dict(), run.trial(record.number) / "model.pt")
    return architecture


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A search of two completed trials, a pruned, a failed, a duplicate of the first, one running and one more."""
    folder = RunFolder(tmp_path / "run")
    folder.open(IDENTITY, {})
    opened = store(folder.path, of=SPACE)
    train(folder, opened, 0.5, 0.25)
    train(folder, opened, 0.5, 0.125)
    train(folder, opened, 0.75, outcome=PRUNED, weights=False)
    train(folder, opened, 0.75, outcome=FAILED, weights=False)
    opened.finish_duplicate(opened.ask().number, opened.record(0))
    opened.ask()
    train(folder, opened, 0.5, 0.375, weights=False)
    folder.close()
    return folder.path


def files(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


LOAD = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        absent = {"ray", "optuna", "hydra", "omegaconf", "wandb", "pandas", "searchers", "search_spaces", "training"}
        if name.partition(".")[0] in absent:
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
import seqconv, torch
out, images = sys.argv[1:]
torch.save(seqconv.load(out)(torch.load(images)), images)
"""


def test_the_exported_model_computes_what_was_trained_where_nothing_else_is_installed(
    run: Path, tmp_path: Path
) -> None:
    out, images = tmp_path / "out", torch.randn(4, 3, PIXELS, PIXELS)
    export_trial(ExportRequest(run=str(run), trial=0, out=str(out)))
    torch.save(images, tmp_path / "images.pt")
    subprocess.run([sys.executable, "-c", LOAD, str(out), str(tmp_path / "images.pt")], cwd=ROOT, check=True)
    architecture = seqconv.read_architecture(out / "architecture.yaml")
    trained = seqconv.build(architecture, classes=CLASSES).eval()
    trained.load_state_dict(torch.load(run / "trials" / "0000" / "model.pt"))
    with torch.no_grad():
        expected = trained(images)
    torch.testing.assert_close(torch.load(tmp_path / "images.pt").detach(), expected, rtol=0, atol=1e-6)


def test_the_folder_says_what_the_model_is(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    lines = export_trial(ExportRequest(run=str(run), trial=1, out=str(out)))
    assert sorted(path.name for path in out.iterdir()) == ["architecture.yaml", "model.pt", "model.yaml"]
    assert read_yaml(out / "model.yaml") == {
        "schema": "seqconv.model", "version": 1, "classes": CLASSES, "weights": "model.pt", "resolution": PIXELS,
        "class_names": ["disc", "ring", "bar"], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "dataset": "shapes",
        "search": "run", "trial": 1, "validation_error": 0.125, "epochs": 2,
        "recipe": {"epochs": 2, "learning_rate": 0.1},
    }  # fmt: skip
    assert lines[0].startswith("trial 1: W1 1x2g8 w=")
    assert lines[1].startswith("validation error 0.1250 after 2 epochs on shapes, ")
    assert lines[1].endswith(" MACs at 16 px")
    assert lines[2:] == [
        f"written to {out}, with weights", f"next: python -c \"import seqconv; model = seqconv.load('{out}')\""
    ]  # fmt: skip
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(("trial", "picked"), [("best", 1), (0, 0), (1, 1), (2, 2), (4, 0)])
def test_which_trial_is_taken(run: Path, tmp_path: Path, trial: str | int, picked: int) -> None:
    """The fourth is a duplicate of the first, which has the weights."""
    export_trial(ExportRequest(run=str(run), trial=trial, out=str(tmp_path / "out")))
    assert read_yaml(tmp_path / "out" / "model.yaml")["trial"] == picked


@pytest.mark.parametrize(
    ("trial", "reason"), [(2, "it was stopped early"), (6, "they were not kept (keep_weights)")]
)  # fmt: skip
def test_a_trial_without_weights_is_exported_as_a_fresh_model(
    run: Path, tmp_path: Path, trial: int, reason: str
) -> None:
    out = tmp_path / "out"
    lines = export_trial(ExportRequest(run=str(run), trial=trial, out=str(out)))
    assert lines[2] == f"written to {out}, without weights: {reason}"
    assert sorted(path.name for path in out.iterdir()) == ["architecture.yaml", "model.yaml"]
    assert seqconv.load(out)(torch.zeros(1, 3, PIXELS, PIXELS)).shape == (1, CLASSES)


def test_an_empty_folder_is_used(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_trial(ExportRequest(run=str(run), out=str(tmp_path / "out")))
    assert (tmp_path / "out" / "model.pt").is_file()


def test_home_folders_may_be_written_with_a_tilde(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(run.parent))
    export_trial(ExportRequest(run="~/run", out="~/out"))
    assert (run.parent / "out" / "model.pt").is_file()


def test_a_search_that_runs_may_be_exported_from(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    folder.open(IDENTITY, {})
    export_trial(ExportRequest(run=str(run), out=str(tmp_path / "out")))
    assert (tmp_path / "out" / "model.pt").is_file()


def refusal(folder: Path, **request: Any) -> str:
    """The message, after a check that nothing was written."""
    before = files(folder.parent)
    with pytest.raises((ValueError, OSError)) as error:
        export_trial(ExportRequest(**{"run": str(folder), "out": str(folder.parent / "out"), **request}))
    assert files(folder.parent) == before
    return str(error.value)


def test_no_search_there(run: Path) -> None:
    expected = "no search there (run.yaml is missing); run= takes a folder such as runs/NAME"
    for path in (run.parent / "missing", run.parent):
        assert refusal(run, run=str(path)) == f"run={path}: {expected}"


def test_no_trial_has_finished(run: Path) -> None:
    (run / "study.journal").unlink()
    opened = store(run, of=SPACE)
    assert refusal(run) == f"run={run}: no trial has finished yet, so there is no best one"
    opened.ask()
    assert refusal(run) == f"run={run}: no trial has finished yet, so there is no best one"
    assert refusal(run, trial=0) == f"run={run}: trial 0 is running; the nearest finished ones are none"


@pytest.mark.parametrize(
    ("trial", "problem"),
    [
        (3, "trial 3 is failed; the nearest finished ones are 2, 1, 0, 6"),
        (5, "trial 5 is running; the nearest finished ones are 6, 2, 1, 0"),
        (99, "there is no trial 99; the nearest finished ones are 6, 2, 1, 0"),
    ],
)
def test_a_trial_that_cannot_be_exported(run: Path, trial: int, problem: str) -> None:
    assert refusal(run, trial=trial) == f"run={run}: {problem}"


def test_a_search_without_a_journal(run: Path) -> None:
    (run / "study.journal").unlink()
    assert refusal(run).startswith(f"{run}: no study.journal there; run= takes the folder of a search")


@pytest.mark.parametrize("kind", ["a file", "a folder with a file"])
def test_the_output_is_there_already(run: Path, kind: str) -> None:
    out = run.parent / "out"
    if kind != "a file":
        out.mkdir()
    (out if kind == "a file" else out / "notes.txt").touch()
    assert refusal(run) == f"out={out}: is there already; pass another out=, or an empty folder"


def test_an_output_below_a_file(run: Path) -> None:
    (run.parent / "file").touch()
    out = run.parent / "file" / "out"
    assert refusal(run, out=str(out)) == f"out={out}: cannot be written: File exists"
    out = out / "deeper"
    assert refusal(run, out=str(out)) == f"out={out}: cannot be written: Not a directory"


def test_an_output_where_nobody_may_write(run: Path) -> None:
    assert refusal(run, out="/proc/seqconv/out").startswith("out=/proc/seqconv/out: cannot be written: ")


def test_a_disk_that_is_full(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    assert refusal(run) == f"out={run.parent / 'out'}: cannot be written: No space left on device"


def test_weights_that_are_damaged(run: Path) -> None:
    weights = run / "trials" / "0001" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:100])
    assert refusal(run).startswith(f"{weights}: not the weights of {weights.parent / 'architecture.yaml'}: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2 is newer than 1, the newest this release reads: upgrade it"),
        ({"schema": "other"}, "schema must be 'seqconv.run', got 'other'"),
        ({"trial": ...}, "missing key 'trial'; required are schema, version, id, search_space, dataset, trial, seed"),
        ({"dataset": {"name": "shapes"}}, "dataset: missing key 'classes'; required are name, classes, resolution, "),
        ({"dataset": 3}, "dataset must be a mapping, got 3"),
    ],
)
def test_a_description_that_cannot_be_used(run: Path, change: dict[str, Any], message: str) -> None:
    described = {k: v for k, v in {**read_yaml(run / "run.yaml"), **change}.items() if v is not ...}
    (run / "run.yaml").write_text(to_yaml(described))
    assert refusal(run).startswith(f"{run / 'run.yaml'}: {message}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"run": 2024}, "run must be the path of a folder, such as runs/NAME or ./2024, got 2024"),
        ({"run": None}, "run must be the path of a folder, such as runs/NAME or ./2024, got None"),
        ({"out": ""}, "out must be the path of a folder, such as runs/NAME or ./2024, got ''"),
        ({"trial": "beste"}, "trial must be best or the number of a trial, got 'beste'"),
        ({"trial": -1}, "trial must be best or the number of a trial, got -1"),
        ({"trial": True}, "trial must be best or the number of a trial, got True"),
        ({"trial": 1.0}, "trial must be best or the number of a trial, got 1.0"),
    ],
)
def test_a_request_that_cannot_be_used(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        ExportRequest(**{"run": "runs/one", **fields})
    assert str(error.value) == message
