"""Two processes train together over gloo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.full.small import (
    EVERYTHING,
    RECIPE,
    Job,
    WithoutNorm,
    assert_same_weights,
    data,
    run,
    train_together,
    weights,
)

PLAIN = replace(RECIPE, weight_decay=0.01, label_smoothing=0.1)
BROKEN = replace(EVERYTHING, checkpoint_every=1e-6)
JOBS = [
    Job(name="whole", recipe=PLAIN, spec=WithoutNorm()),
    Job(name="accumulated", recipe=replace(PLAIN, accumulate=2), spec=WithoutNorm()),
    Job(name="unbroken", recipe=EVERYTHING),
    Job(name="broken", recipe=BROKEN, breaks=True),
    Job(name="measured", recipe=replace(EVERYTHING, norm_batches=2)),
    Job(name="without dropout", recipe=replace(RECIPE, accumulate=2)),
    Job(name="recomputed", recipe=replace(EVERYTHING, recompute=True)),
]
TIMES = ("seconds", "images_per_second", "data_share")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two processes have trained."""
    folder = tmp_path_factory.mktemp("parallel")
    torch.multiprocessing.spawn(train_together, (2, folder, JOBS), nprocs=2)
    return folder


def metrics(folder: Path, name: str, rank: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = torch.load(folder / f"{name}-{rank}.pt", weights_only=True)
    return found


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


@pytest.mark.parametrize("name", ["whole", "accumulated"])
def test_they_come_to_what_one_process_comes_to(name: str, folder: Path, tmp_path: Path) -> None:
    alone = list(run(tmp_path, PLAIN, spec=WithoutNorm(), data=data(71, 31)))
    for one, together in zip(alone, metrics(folder, name), strict=True):
        for field in ("train_loss", "test_loss"):
            assert together[field] == pytest.approx(getattr(one, field), rel=1e-4)
        for field in ("train_error", "test_error", "learning_rate"):
            assert together[field] == pytest.approx(getattr(one, field))
    for key, value in weights(tmp_path).items():
        torch.testing.assert_close(weights(folder / name)[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [job.name for job in JOBS])
def test_both_yield_the_same_metrics(name: str, folder: Path) -> None:
    first, second = (metrics(folder, name, rank) for rank in (0, 1))
    assert first == second
    assert [row["epoch"] for row in first] == [1, 2, 3]
    for row in first:
        assert row["test_error"] * 31 == pytest.approx(round(row["test_error"] * 31))
        assert row["images_per_second"] > 0 < row["seconds"]
        assert 0 < row["data_share"] < 1


def test_a_training_that_broke_off_in_an_epoch_ends_as_an_unbroken_one(folder: Path) -> None:
    assert_same_weights(folder / "broken", folder / "unbroken")
    of_training = ("train_loss", "train_error")
    for broken, unbroken in zip(*(untimed(metrics(folder, name)) for name in ("broken", "unbroken")), strict=True):
        differing = {key for key, value in unbroken.items() if broken[key] != value}
        assert differing <= ({*of_training} if unbroken["epoch"] == 2 else set())


def test_measured_norms_change_the_test_alone(folder: Path) -> None:
    for measured, running in zip(*(metrics(folder, name) for name in ("measured", "unbroken")), strict=True):
        assert measured["train_loss"] == running["train_loss"]
        assert measured["test_loss"] != running["test_loss"]


def test_recomputation_changes_nothing_but_rounding(folder: Path) -> None:
    for recomputed, unbroken in zip(*(metrics(folder, name) for name in ("recomputed", "unbroken")), strict=True):
        assert recomputed["train_loss"] == pytest.approx(unbroken["train_loss"], rel=1e-3)


def test_the_first_alone_writes_files(folder: Path) -> None:
    for job in JOBS:
        names = sorted(path.name for path in (folder / job.name).iterdir())
        assert names == ["checkpoint.pt", "metrics.csv", "model.safetensors"]


def test_a_checkpoint_of_another_training_is_refused_in_both(folder: Path) -> None:
    first, second = ((folder / f"refused-{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert "seed is 0 there and 9 here" in first


def test_divergence_is_seen_by_both_at_once(folder: Path) -> None:
    first, second = ((folder / f"diverged-{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert "at step 4 of 4 in epoch 1" in first
