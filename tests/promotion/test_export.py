"""From a run, a preset or a file to folders that stand alone, whole or not at all."""

from __future__ import annotations

import functools
import io
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import seqconv
from promotion import export_folder
from promotion.export import export_model
from promotion.export_request import ExportRequest
from searchers.run_folder import RunFolder
from seqconv import Architecture, Stage
from seqconv.latency import measure_latency
from seqconv.serialization import read_yaml, to_yaml
from tests.promotion.exports import CANDIDATES, CLASSES, IDENTITY, LARGE, PIXELS, SMALL, network, promotion, search
from tests.promotion.exports import trained as trained_in_full

ROOT = Path(__file__).parents[2]
BARE = {"onnx": False, "latency": False}
FILES = ["architecture.yaml", "model.safetensors", "model.yaml", "model_card.md"]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return search(tmp_path / "run")


def export(out: Path, **request: Any) -> list[str]:
    return list(export_model(ExportRequest(**{**BARE, "out": str(out), **request})))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def trained(run: Path, number: int) -> torch.nn.Module:
    """The model of a trial, from the files of the search."""
    (record,) = (one for one in (run / "trials").iterdir() if one.name == f"{number:04d}")
    state = torch.load(record / "model.pt", weights_only=True)
    exported = read_yaml(run.parent / "out" / "architecture.yaml")
    model = seqconv.build(Architecture.from_dict(exported), classes=CLASSES)
    model.load_state_dict(state)
    return model.eval()


def test_everything_of_a_trial(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all formats, and times, measured in short."""
    monkeypatch.setattr(export_folder, "measure_latency", functools.partial(measure_latency, min_run_time=0.01))
    out, images = tmp_path / "out", torch.randn(4, 3, PIXELS, PIXELS)
    lines = export(out, run=str(run), onnx=True, program=True, latency=True)
    assert names(out) == sorted([*FILES, "model.onnx", "model.pt2"])
    described = read_yaml(out / "model.yaml")
    latency, onnx, program = (described.pop(key) for key in ("latency", "onnx", "program"))
    assert [one["batch_size"] for one in latency] == [1, 64]
    assert (onnx["opset"], onnx["largest_difference"] < 1e-5) == (20, True)
    assert (program["torch"], program["largest_difference"] < 1e-5) == (torch.__version__, True)
    architecture = seqconv.read_architecture(out / "architecture.yaml")
    cost = seqconv.measure(architecture, resolution=PIXELS, classes=CLASSES)
    assert described.pop("cost")["params"] == cost.params
    assert described == {
        "schema": "seqconv.model", "version": 2, "classes": CLASSES, "weights": "model.safetensors",
        "resolution": PIXELS, "dataset": "shapes", "class_names": ["disc", "ring", "bar"], "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6], "origin": {"search": "run", "trial": 1},
        "result": {
            "part": "validation", "mean": 0.125, "std": None, "epochs": 2, "errors": {5: 0.125}, "seed": 5,
        },
        "recipe": {"epochs": 2, "learning_rate": 0.1},
    }  # fmt: skip
    card = (out / "model_card.md").read_text()
    assert "shapes: validation error 12.50 % after 2 epochs (one seed)." in card
    assert "model.onnx" in card and "model.pt2" in card and "| 64 | eager | " in card
    torch.testing.assert_close(seqconv.load(out)(images), trained(run, 1)(images), rtol=0, atol=0)
    assert lines == [
        f"trial-0001: {architecture.describe()}",
        "tracing the graph, which takes some 10 s and a minute for a thousand convolutions",
        f"validation error 12.50 % after 2 epochs (one seed) on shapes, {cost.params:,} params, {cost.macs:,} MACs "
        f"at {PIXELS} px",
        f"written to {out}, with weights",
        f"next: python -c \"import seqconv; model = seqconv.load('{out}')\"",
    ]
    assert names(tmp_path) == ["out", "run"]


LOAD = """
import sys

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(name)

ABSENT = {"ray", "optuna", "hydra", "omegaconf", "wandb", "pandas", "promotion", "searchers", "search_spaces",
          "training", "onnx", "onnxruntime", "timm"}
sys.meta_path.insert(0, Absent)
import seqconv, torch
out, images = sys.argv[1:]
torch.save(seqconv.load(out)(torch.load(images)), images)
assert not ABSENT & set(sys.modules)
"""


def test_it_computes_what_was_trained_where_nothing_else_is_installed(run: Path, tmp_path: Path) -> None:
    images = torch.randn(4, 3, PIXELS, PIXELS)
    export(tmp_path / "out", run=str(run), trial=0)
    torch.save(images, tmp_path / "images.pt")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "out"), str(tmp_path / "images.pt")]
    subprocess.run(command, cwd=ROOT, check=True)
    expected = trained(run, 0)(images).detach()
    torch.testing.assert_close(torch.load(tmp_path / "images.pt").detach(), expected, rtol=0, atol=1e-6)


def test_a_trial_without_weights_is_exported_as_a_fresh_model(run: Path, tmp_path: Path) -> None:
    lines = export(tmp_path / "out", run=str(run), trial=6)
    assert lines[-2] == (
        f"written to {tmp_path / 'out'}, without weights: the search kept none of it, because it was stopped early or "
        "is not among its best (keep_weights)"
    )
    assert names(tmp_path / "out") == ["architecture.yaml", "model.yaml", "model_card.md"]
    assert seqconv.load(tmp_path / "out")(torch.zeros(1, 3, PIXELS, PIXELS)).shape == (1, CLASSES)


def test_the_front_has_a_folder_for_each(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = export(out, run=str(run), trial="pareto")
    assert names(out) == ["trial-0000", "trial-0001"]
    assert [names(out / name) for name in names(out)] == [FILES, FILES]
    assert [read_yaml(out / name / "model.yaml")["origin"]["trial"] for name in names(out)] == [0, 1]
    assert [line for line in lines if line.startswith("written")] == [
        f"written to {out / 'trial-0001'}, with weights", f"written to {out / 'trial-0000'}, with weights"
    ]  # fmt: skip


def test_a_candidate_of_a_promotion(tmp_path: Path) -> None:
    run = promotion(tmp_path / "run", {("trial-0007", "cifar"): [0.5, 0.25], ("preset-large", "cifar"): [0.5]})
    lines = export(tmp_path / "out", run=str(run))
    assert seqconv.read_architecture(tmp_path / "out" / "architecture.yaml") == SMALL
    expected = network(SMALL, 1).state_dict()
    torch.testing.assert_close(seqconv.load(tmp_path / "out").state_dict(), expected, rtol=0, atol=0)
    described = read_yaml(tmp_path / "out" / "model.yaml")
    assert described["result"]["errors"] == {0: 0.5, 1: 0.25}
    assert described["origin"] == {
        "promotion": "run", "candidate": "trial-0007", "stage": "cifar", "chosen_from": {"run": "one", "trial": 7}
    }  # fmt: skip
    assert lines[1].startswith("test error 37.50 ± 17.68 % over 2 seeds after 3 epochs on shapes, ")
    export(tmp_path / "large", run=str(run), trial="preset-large", stage="cifar")
    assert seqconv.read_architecture(tmp_path / "large" / "architecture.yaml") == LARGE


def test_a_model_of_timm(tmp_path: Path) -> None:
    run = promotion(tmp_path / "run", {("timm-resnet10t", "cifar"): [0.5]})
    export(tmp_path / "out", run=str(run))
    assert names(tmp_path / "out") == ["model.safetensors", "model.yaml", "model_card.md"]
    assert read_yaml(tmp_path / "out" / "model.yaml")["timm"] == "resnet10t"
    loaded = seqconv.load(tmp_path / "out")
    torch.testing.assert_close(loaded.state_dict(), trained_in_full(CANDIDATES[2], 0).state_dict(), rtol=0, atol=0)


@pytest.mark.slow
def test_a_model_of_timm_in_all_formats(tmp_path: Path) -> None:
    run = promotion(tmp_path / "run", {("timm-resnet10t", "cifar"): [0.5]})
    export(tmp_path / "out", run=str(run), onnx=True, program=True)
    described = read_yaml(tmp_path / "out" / "model.yaml")
    assert max(described[name]["largest_difference"] for name in ("onnx", "program")) < 1e-5


def test_a_preset(tmp_path: Path) -> None:
    lines = export(tmp_path / "out", preset="cifar_b_small", classes=7, resolution=16)
    assert seqconv.read_architecture(tmp_path / "out" / "architecture.yaml") == seqconv.read_architecture(
        "cifar_b_small"
    )
    described = read_yaml(tmp_path / "out" / "model.yaml")
    assert (described["classes"], described["resolution"], described["weights"]) == (7, 16, None)
    assert described["origin"] == {"preset": "cifar_b_small"}
    assert lines[1].startswith("not trained, ") and lines[1].endswith(" MACs at 16 px")
    assert lines[2] == f"written to {tmp_path / 'out'}, without weights: it was not trained"


def test_a_file(tmp_path: Path) -> None:
    """With the classes and the resolution of its family's data set."""
    seqconv.write_architecture(SMALL, tmp_path / "mine.yaml")
    lines = export(tmp_path / "out", architecture=str(tmp_path / "mine.yaml"))
    assert lines[0] == f"mine: {SMALL.describe()}"
    described = read_yaml(tmp_path / "out" / "model.yaml")
    assert (described["classes"], described["resolution"], described["origin"]) == (10, 32, {"file": "mine.yaml"})


def test_random_weights_are_those_of_one_seed_and_leave_the_random_state(tmp_path: Path) -> None:
    seqconv.write_architecture(SMALL, tmp_path / "mine.yaml")
    before, states = torch.get_rng_state(), []
    for name in ("one", "two"):
        export(tmp_path / name, architecture=str(tmp_path / "mine.yaml"), program=True)
        states.append(torch.export.load(tmp_path / name / "model.pt2").state_dict)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


def test_an_empty_folder_is_used(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(tmp_path / "out", run=str(run))
    assert names(tmp_path / "out") == FILES


def test_home_folders_may_be_written_with_a_tilde(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    seqconv.write_architecture(SMALL, tmp_path / "mine.yaml")
    export(Path("~/out"), run="~/run")
    export(Path("~/mine"), architecture="~/mine.yaml")
    assert names(tmp_path) == ["mine", "mine.yaml", "out", "run"]


def test_a_search_that_runs_may_be_exported_from(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    folder.open(IDENTITY, {})
    export(tmp_path / "out", run=str(run))
    assert names(tmp_path / "out") == FILES


def refusal(folder: Path, **request: Any) -> str:
    """The message, after a check that nothing was written."""
    before = files(folder)
    with pytest.raises((ValueError, OSError)) as error:
        export(**{"out": folder / "out", **request})
    assert files(folder) == before
    return str(error.value)


def test_neither_search_nor_promotion(run: Path, tmp_path: Path) -> None:
    expected = "no search or promotion there (neither run.yaml nor promote.yaml); run= takes a folder such as runs/NAME"
    for path in (tmp_path / "missing", tmp_path):
        assert refusal(tmp_path, run=str(path)) == f"run={path}: {expected} or promotions/NAME"


def test_a_search_has_no_stages(run: Path, tmp_path: Path) -> None:
    message = refusal(tmp_path, run=str(run), stage="cifar")
    assert message == f"run={run}: is a search, which has no stages: leave stage out"


def test_what_names_no_architecture(tmp_path: Path) -> None:
    assert refusal(tmp_path, preset="cifar_c").startswith("preset must be one of cifar_plain, cifar_b, ")
    path = tmp_path / "none.yaml"
    expected = f"architecture={path}: no such file; architecture= takes a YAML file, preset= a name"
    assert refusal(tmp_path, architecture=str(path)) == expected


def test_an_architecture_file_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml({**SMALL.to_dict(), "version": 2}))
    expected = f"{path}: architecture: version 2 is newer than 1, the newest this release reads: upgrade it"
    assert refusal(tmp_path, architecture=str(path)) == expected


@pytest.mark.parametrize("kind", ["a file", "a folder with a file"])
def test_the_output_is_there_already(run: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind != "a file":
        out.mkdir()
    (out if kind == "a file" else out / "notes.txt").touch()
    expected = f"out={out}: is there already; pass another out=, or an empty folder"
    assert refusal(tmp_path, run=str(run)) == expected


def test_an_output_below_a_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out", tmp_path / "file" / "out" / "deeper"):
        assert (
            refusal(tmp_path, run=str(run), out=out)
            == f"out={out}: cannot write to {tmp_path / 'file'}: Not a directory"
        )


def test_an_output_where_nobody_may_write(run: Path, tmp_path: Path) -> None:
    out = Path("/proc/seqconv/out")
    assert refusal(tmp_path, run=str(run), out=out).startswith(f"out={out}: cannot write to /proc: ")


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Stands for a full disk: writing more fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [100, 2_000])
def test_a_disk_that_is_full(run: Path, tmp_path: Path, size: int) -> None:
    """While the architecture is written, and the weights."""
    with no_file_above(size):
        message = refusal(tmp_path, run=str(run))
    assert message == f"out={tmp_path / 'out'}: cannot be written: File too large"


@pytest.mark.parametrize("option", ["onnx", "program"])
def test_a_disk_that_is_full_while_a_graph_is_written(tmp_path: Path, option: str) -> None:
    seqconv.write_architecture(SMALL, tmp_path / "mine.yaml")
    with no_file_above(5_000):
        message = refusal(tmp_path, architecture=str(tmp_path / "mine.yaml"), **{option: True})
    assert message == f"out={tmp_path / 'out'}: cannot be written: File too large"


def test_weights_that_are_damaged(run: Path, tmp_path: Path) -> None:
    weights = run / "trials" / "0001" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:100])
    assert refusal(tmp_path, run=str(run)).startswith(f"{weights}: holds no weights: ")
    torch.save([1], weights)
    assert refusal(tmp_path, run=str(run)).startswith(f"{weights}: holds no weights: ")


def test_weights_of_another_architecture(run: Path, tmp_path: Path) -> None:
    other = Architecture(stages=(Stage(blocks=2, group_width=4),), pyramid=(1,))
    weights = run / "trials" / "0001" / "model.pt"
    torch.save(seqconv.build(other, classes=CLASSES).state_dict(), weights)
    message = refusal(tmp_path, run=str(run))
    assert message.startswith(f"{weights}: not the weights of trial-0001: Error(s) in loading state_dict for Network: ")


def test_weights_of_a_promotion_that_are_damaged(tmp_path: Path) -> None:
    run = promotion(tmp_path / "run", {("trial-0007", "cifar"): [0.5]})
    weights = run / "candidates" / "trial-0007" / "cifar" / "seed-0" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert refusal(tmp_path, run=str(run)).startswith(f"{weights}: not the weights of trial-0007: ")


def test_one_of_a_front_that_fails_leaves_nothing(run: Path, tmp_path: Path) -> None:
    weights = run / "trials" / "0000" / "model.pt"
    weights.write_bytes(b"")
    assert refusal(tmp_path, run=str(run), trial="pareto").startswith(f"{weights}: holds no weights: ")


def test_a_file_that_computes_something_else_is_not_handed_out(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(model: torch.nn.Module, resolution: int) -> torch.export.ExportedProgram:
        with torch.no_grad():
            next(model.parameters()).add_(1)
        program = trace(model, resolution)
        with torch.no_grad():
            next(model.parameters()).sub_(2)
        return program

    trace = export_folder.trace
    monkeypatch.setattr(export_folder, "trace", other)
    message = refusal(tmp_path, run=str(run), program=True)
    assert message.startswith("model.pt2: logits of a batch of 1 differ from the model's by ")


def test_weights_that_are_not_finite(run: Path, tmp_path: Path) -> None:
    weights = run / "trials" / "0001" / "model.pt"
    state = torch.load(io.BytesIO(weights.read_bytes()), weights_only=True)
    state["classifier.bias"][0] = float("nan")
    torch.save(state, weights)
    message = refusal(tmp_path, run=str(run), program=True)
    assert message.startswith("the model's own logits are not finite: its training diverged")


def test_times_that_cannot_be_measured(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise ValueError("latency of a batch of 64: no memory")

    monkeypatch.setattr(export_folder, "measure_latency", no_memory)
    message = refusal(tmp_path, run=str(run), latency=True)
    assert message == "latency of a batch of 64: no memory; latency=false leaves it out"
