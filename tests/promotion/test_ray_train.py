"""The seam to Ray Train: trainings of several processes, and those that fail in every way they can."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock, Timeout

from promotion.config import PromoteConfig
from promotion.results import read_epochs
from promotion.training import DIVERGED, FAILED, Failure, Training
from searchers.config import RayBackend
from tests.promotion.fakes import architecture, config
from tests.search_process import ray_cluster
from training.data import ImageData
from training.datasets import Digits
from training.full.in_memory import InMemory, InMemoryBatches
from training.full.model import ModelSpec
from training.full.recipe import Recipe
from training.trainer import Diverged

RECIPE = Recipe(epochs=2, batch_size=256)
WELL, RAISES, DIES_ONCE, DIVERGES, DIES = range(5)
"""Seeds, and what happens in the second epoch of those trainings."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Troubled(InMemory):
    """Images that some trainings have trouble with; the trouble begins in the last process."""

    folder: Path

    def open(self, recipe: Recipe, *, rank: int, world: int, seed: int, device: torch.device) -> InMemoryBatches:
        batches = super().open(recipe, rank=rank, world=world, seed=seed, device=device)
        if rank == world - 1:
            batches.train = self.trouble(batches.train, seed)  # type: ignore[method-assign]
        return batches

    def trouble(self, train: Callable[..., Any], seed: int) -> Callable[..., Any]:
        def troubled(epoch: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            if epoch == 2 and seed == RAISES:
                raise ValueError("cat/1.jpg: cannot be read as an image")
            if epoch == 2 and (seed == DIES or (seed == DIES_ONCE and not (self.folder / "died").exists())):
                (self.folder / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            for images, labels in train(epoch, start):
                yield images * torch.nan if epoch == 2 and seed == DIVERGES else images, labels

        return troubled


@dataclass
class Trained:
    """What was told of some trainings."""

    ends: dict[int, Failure | None] = field(default_factory=dict)
    running: list[int] = field(default_factory=list)
    """How many there were, at each look."""
    lines: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return Digits().load()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with ray_cluster() as address:
        yield address


def train(folder: Path, digits: ImageData, seeds: Sequence[int], settings: PromoteConfig) -> Trained:
    from promotion.ray_train import RayMachine

    told = Trained()
    trainings = []
    for seed in seeds:
        (folder / f"seed-{seed}").mkdir()
        spec = ModelSpec(architecture=architecture())
        trainings.append(
            Training(candidate="trial-0001", stage="cifar", seed=seed, folder=folder / f"seed-{seed}", spec=spec)
        )
    machine = RayMachine(settings, folder, told.lines.append)
    try:
        machine.train(
            trainings,
            Troubled(data=digits, folder=folder),
            RECIPE,
            ended=lambda training, failure: told.ends.update({training.seed: failure}),
            watch=lambda running: told.running.append(len(running)),
        )
    finally:
        machine.close()
    return told


@pytest.mark.slow
def test_two_processes_and_all_that_can_happen_to_them(cluster: str, tmp_path: Path, digits: ImageData) -> None:
    backend = RayBackend(address=cluster, retries=1)
    told = train(tmp_path, digits, [WELL, RAISES, DIES_ONCE, DIVERGES], config(backend=backend, processes=2))
    assert told.ends.keys() == {WELL, RAISES, DIES_ONCE, DIVERGES}
    assert told.lines == [
        "trial-0001, cifar, seed 2: lost a process and starts again from its checkpoint (1 of 1 times)"
    ]
    assert max(told.running) == 1  # there is room for two processes
    for seed in (WELL, DIES_ONCE):
        assert told.ends[seed] is None
        folder = tmp_path / f"seed-{seed}"
        assert [epoch["epoch"] for epoch in read_epochs(folder)] == [1, 2]
        assert (folder / "model.safetensors").is_file()
    assert torch.load(tmp_path / "seed-0" / "checkpoint.pt", weights_only=True)["identity"]["world"] == 2
    log = (tmp_path / f"seed-{DIES_ONCE}" / "log.txt").read_text()
    assert re.findall(r"INFO (epoch \d):", log) == ["epoch 1", "epoch 1", "epoch 2"]
    raised, diverged = told.ends[RAISES], told.ends[DIVERGES]
    assert raised is not None and (raised.outcome, raised.short) == (
        FAILED,
        "ValueError: cat/1.jpg: cannot be read as an image",
    )
    assert "in troubled" in raised.reason
    assert diverged is not None and diverged.outcome == DIVERGED
    assert diverged.short.startswith("Diverged: training loss is nan")
    assert "Diverged: training loss is nan" in (tmp_path / f"seed-{DIVERGES}" / "log.txt").read_text()
    assert not (tmp_path / ".ray").exists()


@pytest.mark.slow
def test_several_at_a_time_and_one_that_always_dies(cluster: str, tmp_path: Path, digits: ImageData) -> None:
    told = train(tmp_path, digits, [DIES, WELL], config(backend=RayBackend(address=cluster, retries=0)))
    assert max(told.running) == 2
    assert told.ends[WELL] is None and told.lines == []
    died = told.ends[DIES]
    assert died is not None and (died.outcome, died.short) == (
        FAILED,
        "a process died, as after an out-of-memory kill, or could not start, more often than backend.retries",
    )


class TestFolder:
    """The folder of a training, in its first process."""

    def test_it_is_locked_and_has_a_log(self, tmp_path: Path) -> None:
        from promotion import ray_train

        with ray_train._files(tmp_path) as log:
            log.info("epoch 1")
            with pytest.raises(Timeout):
                FileLock(tmp_path / ".lock").acquire(blocking=False)
        assert (tmp_path / "log.txt").read_text().rstrip().endswith("INFO epoch 1")

    def test_what_outlived_its_driver_is_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from promotion import ray_train

        monkeypatch.setattr(ray_train, "OUTLIVED", 0.1)
        with FileLock(tmp_path / ".lock"), pytest.raises(ValueError) as error, ray_train._files(tmp_path):
            pass
        assert str(error.value) == f"{tmp_path} is in use by another training"

    def test_a_node_that_does_not_see_it(self, tmp_path: Path) -> None:
        from promotion import ray_train

        with pytest.raises(ValueError) as error, ray_train._files(tmp_path / "missing"):
            pass
        assert str(error.value).startswith(f"{tmp_path / 'missing'} is not there on ")
        assert str(error.value).endswith(": out= must be seen by every node")


def understood(**causes: Exception) -> tuple[str, str, bool]:
    """Outcome, last line and whether a process was lost, for what the processes raised."""
    from ray.train import WorkerGroupError

    from promotion import ray_train

    by_rank = {int(rank[1:]): cause for rank, cause in causes.items()}
    failure, lost = ray_train._understood(WorkerGroupError("Traceback\n", by_rank))
    return failure.outcome, failure.short, lost


class TestUnderstanding:
    """Ray Train says alike that a training raised and that a process died."""

    LOST = "a process died, as after an out-of-memory kill, or could not start, more often than backend.retries"

    def test_a_training_that_raised(self) -> None:
        assert understood(r1=OSError("no space left")) == (FAILED, "OSError: no space left", False)
        assert understood(r0=RuntimeError("out of memory"))[2] is False

    def test_a_training_that_diverged(self) -> None:
        assert understood(r0=Diverged("inf"), r1=Diverged("inf")) == (DIVERGED, "Diverged: inf", False)

    def test_a_process_that_died(self) -> None:
        from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

        died = WorkerHealthCheckFailedError("died", failure=RuntimeError())
        assert understood(r1=died) == (FAILED, self.LOST, True)
        assert understood(r0=ValueError("collateral"), r1=died) == (FAILED, self.LOST, True)

    def test_a_process_that_could_not_be_reached(self) -> None:
        gloo = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:1] Connection closed by peer")
        assert understood(r0=gloo) == (FAILED, self.LOST, True)
        assert understood(r0=torch.distributed.DistBackendError("NCCL")) == (FAILED, self.LOST, True)

    def test_the_process_that_waits_for_a_training_died(self) -> None:
        from ray.exceptions import WorkerCrashedError

        from promotion import ray_train

        failure, lost = ray_train._understood(WorkerCrashedError())
        assert (failure.outcome, failure.short, lost) == (FAILED, self.LOST, True)
