"""Ray Train runs the trainings of a promotion: the only module that knows of it.

A training is a `TorchTrainer` with as many processes as were asked for; several run at a time. Checkpoints lie in the
promotion's own folder, and Ray is told of none: a training that lost a process, or its driver, goes on from there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from searchers import ray_cluster  # sets what Ray reads when it is imported

# isort: split
import ray
import ray.train
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from torch.distributed import DistError

from promotion.config import PromoteConfig
from promotion.training import DIVERGED, FAILED, Failure, Training
from searchers import ray_shared
from searchers.ray_cluster import Share
from training.full.data import FullData
from training.full.image_files import ImageFiles
from training.full.recipe import Recipe
from training.log_file import logged
from training.trainer import Diverged

LOCK_FILE = ".lock"
SCRATCH = ".ray"
"""Folder in that of the promotion for what Ray Train writes, which is of no use afterwards."""
WATCH_EVERY = 1.0
"""Seconds between two looks at what runs."""
OUTLIVED = 120.0
"""Seconds that the processes of a killed driver may outlive it."""
_ENVIRONMENT = {"RAY_TRAIN_METRICS_ENABLED": "0", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
"""Set where a training is begun, unless the user has: each would be one more process."""


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a training needs beside its images."""

    training: Training
    recipe: Recipe
    share: Share
    processes: int
    scratch: Path


class RayMachine:
    """Ray, joined for one promotion.

    Args:
        config: says where Ray is and what a training gets.
        folder: of the promotion, on a file system that every node of the cluster sees.
        say: where a line for the user goes.

    Raises:
        ValueError: a cluster that cannot be reached, that has less than one training asks for, or that does not share
            the folder.
    """

    def __init__(self, config: PromoteConfig, folder: Path, say: Callable[[str], None]) -> None:
        self._share = ray_cluster.connect(
            config.backend, config.resources, config.concurrency, processes=config.processes, say=say
        )
        self._room = ray_cluster.Room(self._share, say)
        self._processes, self._retries, self._say = config.processes, config.backend.retries, say
        self._scratch, self._wrote = folder.resolve() / SCRATCH, False
        ray_shared.check_shared("out", folder)

    @property
    def cluster(self) -> str:
        """What it has, in words."""
        return self._share.cluster

    @property
    def concurrency(self) -> int:
        """Trainings at a time."""
        return self._share.concurrency

    def train(
        self,
        trainings: Sequence[Training],
        data: FullData,
        recipe: Recipe,
        *,
        ended: Callable[[Training, Failure | None], None],
        watch: Callable[[Collection[Training]], None],
    ) -> None:
        """See `promotion.training.Machine`."""
        self._wrote = True
        shared = ray.put(self._with_readers(data))
        waiting = [(training, 0) for training in reversed(trainings)]
        running: dict[Any, tuple[Training, int]] = {}
        while waiting or running:
            while waiting and len(running) < self._room():
                training, losses = waiting.pop()
                running[self._begin(training, recipe, shared)] = training, losses
            for ref in ray.wait(list(running), timeout=WATCH_EVERY)[0]:
                training, losses = running.pop(ref)
                failure, lost = _outcome(ref)
                if lost and losses < self._retries:
                    again = f"starts again from its checkpoint ({losses + 1} of {self._retries} times)"
                    self._say(f"{training.label}: lost a process and {again}")
                    waiting.append((training, losses + 1))
                else:
                    ended(training, failure)
            watch([training for training, _ in running.values()])

    def close(self) -> None:
        """Leave Ray, which ends what still runs."""
        ray_cluster.leave()
        if self._wrote:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _with_readers(self, data: FullData) -> FullData:
        """As many processes that read images as each training process has cores: several trainings run at a time."""
        if not isinstance(data, ImageFiles) or data.workers is not None:
            return data
        cores = ray.cluster_resources().get("CPU", 1)
        return replace(data, workers=max(1, int(cores / (self.concurrency * self._processes))))

    def _begin(self, training: Training, recipe: Recipe, shared: Any) -> Any:
        work = _Work(
            training=training, recipe=recipe, share=self._share, processes=self._processes, scratch=self._scratch
        )
        return _fit.remote(work, [shared])  # in a list, because Ray hands on what an argument refers to


@ray.remote(num_cpus=0, max_retries=0)
def _fit(work: _Work, data: list[Any]) -> tuple[Failure | None, bool]:
    """In a process of its own, because what waits in `fit` cannot be interrupted: how a training ended, see `_outcome`.

    Ray Train is to end the training where a process is lost or raises: it does not tell the one from the other.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    share, training = work.share, work.training
    trainer = TorchTrainer(
        _train,
        train_loop_config={"work": work, "data": data[0]},
        scaling_config=ScalingConfig(
            num_workers=work.processes,
            use_gpu=share.gpu > 0,
            resources_per_worker={"CPU": share.cpu} | ({"GPU": share.gpu} if share.gpu else {}),
        ),
        run_config=RunConfig(
            name=f"{training.candidate}-{training.stage}-{training.seed}",
            storage_path=str(work.scratch),
            failure_config=FailureConfig(max_failures=0),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        return _understood(error)
    return None, False


def _outcome(ref: Any) -> tuple[Failure | None, bool]:
    """Why a training failed, if it did, and whether a process was lost."""
    try:
        failure, lost = ray.get(ref)
    except RayError as error:  # the process that waited for it died
        return _understood(error)
    return failure, lost


def _train(config: dict[str, Any]) -> None:
    """In each process of a training."""
    from training.full.loop import train_full

    work: _Work = config["work"]
    training, context = work.training, ray.train.get_context()
    rank = context.get_world_rank()
    with _files(training.folder) if rank == 0 else contextlib.nullcontext() as log:
        for metrics in train_full(
            training.spec,
            ray.get(config["data"]),
            work.recipe,
            folder=training.folder,
            seed=training.seed,
            device=str(get_device()),
            threads=max(1, int(work.share.cpu)),
            rank=rank,
            world=context.get_world_size(),
        ):
            if log is not None:
                log.info("epoch %d: test error %.4f", metrics.epoch, metrics.test_error)


@contextlib.contextmanager
def _files(folder: Path) -> Iterator[logging.Logger]:
    """The folder of a training for this process alone, with its log; the other processes wait for the first one."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not there on {socket.gethostname()}: out= must be seen by every node")
    try:
        with FileLock(folder / LOCK_FILE, timeout=OUTLIVED), logged(folder / "log.txt") as log:
            yield log
    except Timeout:
        raise ValueError(f"{folder} is in use by another training") from None


def _understood(error: Exception) -> tuple[Failure, bool]:
    """What made a training fail, and whether that was the loss of a process."""
    causes = list(getattr(error, "worker_failures", {}).values())
    if not causes or any(map(_is_loss, causes)):
        last = "a process died, as after an out-of-memory kill, or could not start, more often than backend.retries"
        return Failure(outcome=FAILED, reason=f"{error}\n{last}"), True
    cause = next((c for c in causes if isinstance(c, Diverged)), causes[0])
    outcome = DIVERGED if isinstance(cause, Diverged) else FAILED
    return Failure(outcome=outcome, reason=f"{error}\n{type(cause).__name__}: {cause}"), False


def _is_loss(error: Exception) -> bool:
    """Ray found a process dead, or another one found that it could not reach it."""
    unreachable = isinstance(error, DistError) or (type(error) is RuntimeError and "gloo" in str(error))
    return unreachable or type(error).__module__.partition(".")[0] == "ray"
