"""From a search on CIFAR-10 through full training on CIFAR-10 and ImageNet images to a folder that stands alone."""

from __future__ import annotations

import csv
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.real_data import write_pickle
from tests.search_process import PATIENCE, ROOT, SMALL, Search

pytestmark = pytest.mark.slow

FRAMEWORK = ("ray", "optuna", "hydra", "wandb", "pandas")
BARE = """
import json, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[3].split(","):
    sys.modules[name] = None
import numpy, onnxruntime, torch
import seqconv
model = seqconv.load(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[2] + "/model.onnx")
(given,) = session.get_inputs()
largest = 0.0
for images in (1, 5):
    x = torch.randn(images, 3, 32, 32, generator=torch.Generator().manual_seed(images))
    with torch.no_grad():
        expected = model(x)
    (found,) = session.run(None, {given.name: x.numpy()})
    largest = max(largest, float(numpy.abs(found - expected.numpy()).max()))
print(json.dumps({"classes": expected.shape[1], "difference": largest, "training": model.training}))
"""
"""Loads an exported folder where the framework cannot be imported, and runs it by torch and by onnxruntime."""


def started(script: str, *settings: str) -> Search:
    return Search([str(ROOT / script), *settings])


def beginning(cifar10_root: Path, folder: Path, images: int) -> Path:
    """A dataset.root with so many images of each of CIFAR-10's six files."""
    target = folder / "cifar-10-batches-py"
    target.mkdir(parents=True)
    for file in (cifar10_root / target.name).iterdir():
        content = pickle.loads(file.read_bytes(), encoding="bytes")
        cut = {name: content[name][:images] for name in (b"labels", b"data") if name in content}
        write_pickle(target / file.name, content | cut)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def metrics(out: Path, stage: str) -> dict[str, tuple[int, str]]:
    """Time of the last change and content of every metrics.csv of a stage."""
    files = sorted(out.glob(f"candidates/*/{stage}/seed-*/metrics.csv"))
    return {file.relative_to(out).as_posix(): (file.stat().st_mtime_ns, file.read_text()) for file in files}


def wait_for_checkpoint(promotion: Search, out: Path, stage: str) -> None:
    """Until a training of the stage has a checkpoint and no epoch behind it."""
    deadline = time.monotonic() + PATIENCE
    while not any(out.glob(f"candidates/*/{stage}/seed-0/checkpoint.pt")):
        assert time.monotonic() < deadline
        assert promotion.processes()
        time.sleep(0.05)
    assert not metrics(out, stage)


def test_what_a_search_finds_can_be_taken_away(cifar10_root: Path, imagenette_root: Path, tmp_path: Path) -> None:
    run, out, exported = (tmp_path / name for name in ("run", "promotion", "exported"))
    cifar10 = (f"root={beginning(cifar10_root, tmp_path / 'cifar10', 500)}", "verify=false", "download=false")
    amounts = [setting for setting in SMALL if not setting.startswith(("dataset=", "trial.share="))]
    with started(
        "search.py", *amounts, "dataset=cifar10", *(f"dataset.{setting}" for setting in cifar10), "tracker=none",
        "scheduler=none", "trials=4", "trial.epochs=1", "trial.share=0.1", "concurrency=1", "report=false",
        f"run={run}",
    ) as search:  # fmt: skip
        search.succeed()

    promote = (
        f"run={run}", "top=3", "keep=1", "seeds=1", "stages=[cifar,imagenet]", "target=3e5", "processes=2",
        f"out={out}", *(f"cifar.dataset.{setting}" for setting in cifar10), "cifar.recipe=cifar_fast",
        "cifar.recipe.epochs=1", "cifar.recipe.warmup_epochs=0.2", "cifar.recipe.batch_size=100", "concurrency=1",
        f"imagenet.dataset.root={imagenette_root}", "imagenet.dataset.workers=0", "imagenet.recipe.epochs=2",
        "imagenet.recipe.batch_size=20", "imagenet.recipe.resolution=32", "imagenet.recipe.checkpoint_every=0.05",
        "resources.cpu=1",
    )  # fmt: skip
    with started("promote.py", *promote) as broken:
        wait_for_checkpoint(broken, out, "imagenet")
        broken.signal(signal.SIGKILL)
        broken.end()
    trained = metrics(out, "cifar")
    assert len(trained) == 3
    with started("promote.py", *promote) as resumed:
        stdout = resumed.succeed()
        assert resumed.leftovers() == []
    assert f"promotion: {out} (going on)" in stdout
    assert metrics(out, "cifar") == trained, "what was trained is not trained again"
    results = rows(out / "results.csv")
    assert [(row["stage"], row["outcome"]) for row in results] == [("cifar", "completed")] * 3 + [
        ("imagenet", "completed")
    ]
    best = min(results[:3], key=lambda row: float(row["error"]))
    assert results[3]["candidate"] == best["candidate"], "only what does best reaches ImageNet"
    assert int(results[3]["epochs"]) == 2
    assert (out / "transfer.csv").is_file()

    with started("export.py", f"run={out}", "trial=best", "stage=cifar", f"out={exported}", "latency=false") as export:
        export.succeed()
    bare = subprocess.run(
        [sys.executable, "-I", "-c", BARE, str(ROOT), str(exported), ",".join(FRAMEWORK)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert bare.returncode == 0, bare.stderr
    loaded = json.loads(bare.stdout)
    assert (loaded["classes"], loaded["training"]) == (10, False)
    assert loaded["difference"] < 1e-4
    assert f"{100 * float(best['error']):.2f}" in (exported / "model_card.md").read_text()
