"""Ray Tune runs the trials of a session: the only module that knows of Ray.

Ray's own experiment state is thrown away: a search resumes from its store and its checkpoints with a new Tuner.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Read when Ray is imported. Where a worker dies, Ray would print a paragraph, and LostWorkers has a line for it.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^A worker died or was killed")

import ray
from ray import tune
from ray._private.utils import read_ray_address
from ray.tune import Callback, Stopper
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from searchers.config import RayBackend, Resources, TrainTrial
from searchers.record import COMPLETED, PRUNED, TrialRecord
from searchers.schedulers import Asha, Scheduler
from searchers.session import Session
from seqconv import Architecture
from training.device import release_memory

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
"""Set before Ray starts, where the user has not. Ray's memory monitor would end the whole search with one trial."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """What each trial gets, resolved against what the cluster has."""

    cpu: float
    gpu: float
    concurrency: int
    cluster: str
    """What the cluster has, in words."""


def connect(backend: RayBackend, resources: Resources, concurrency: int | None) -> Share:
    """Start or join Ray and resolve what a trial gets.

    Raises:
        ValueError: a cluster that cannot be reached, or that has less than one trial asks for.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    local = backend.address == "local"
    if local:
        # Ray listens on every interface: with a token, nobody else can run code in this search.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        ray.init(
            address="local" if local else _running_cluster(backend.address),
            num_cpus=backend.cpus,
            num_gpus=backend.gpus,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"backend.address={backend.address}: no Ray can be used there: {error}") from None
    has = ray.cluster_resources()
    cpus, gpus = has.get("CPU", 0.0), has.get("GPU", 0.0)
    gpu = resources.gpu if resources.gpu is not None else min(1.0, gpus)
    for name, asked, there in (("cpu", resources.cpu, cpus), ("gpu", gpu, gpus)):
        if asked > there:
            ray.shutdown()
            raise ValueError(
                f"resources.{name}={asked:g} is more than there is: {there:g} {name.upper()}s "
                f"at backend.address={backend.address}"
            )
    fits = int(min(cpus / resources.cpu, gpus / gpu if gpu else float("inf")) + 1e-9)
    words = f"{cpus:g} CPUs, {gpus:g} GPUs"
    return Share(cpu=resources.cpu, gpu=gpu, concurrency=min(fits, concurrency or fits), cluster=words)


def _running_cluster(address: str) -> str:
    """host:port of a cluster that answers. Found out here, because Ray itself would try for a quarter of an hour."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or read_ray_address() or ""
        if not address:
            raise ValueError("none was started on this machine; start one with: ray start --head")
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ValueError(f"{address} is not of the form host:port")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
        return address


def run(
    session: Session,
    *,
    share: Share,
    scheduler: Scheduler,
    retries: int,
    train: TrainTrial,
    shared: Mapping[str, Any],
) -> None:
    """Run trials until the session is done or interrupted (SIGINT), then leave Ray.

    Args:
        session: proposes and takes results.
        share: what `connect` returned.
        scheduler: when to stop a trial early.
        retries: starts after a worker process died.
        train: runs in the workers.
        shared: keyword arguments of `train` that all trials have in common, sent once.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what Tune reports as errors reaches the session
    searcher = SessionSearcher(session, share.concurrency)
    try:
        trainable = tune.with_resources(
            tune.with_parameters(_train_and_report, train=train, share=share, shared=dict(shared)),
            {"cpu": share.cpu, "gpu": share.gpu},
        )
        with tempfile.TemporaryDirectory(prefix="seqconv-tune-") as scratch:
            tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=_scheduler(scheduler, session.epochs, session.store.records()),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="search",
                    storage_path=str(Path(scratch).resolve()),
                    failure_config=tune.FailureConfig(max_failures=retries),
                    stop=WhenSessionFails(session),
                    callbacks=[LostWorkers(searcher, session.say, retries)],
                    verbose=0,
                ),
            ).fit()
    finally:
        ray.shutdown()


def _train_and_report(config: dict[str, Any], *, train: TrainTrial, share: Share, shared: Mapping[str, Any]) -> None:
    """In a worker. An exception of the training is a result, so that Ray retries nothing but a lost process."""
    architecture = Architecture.from_dict(config["architecture"])
    device, threads = "cuda" if share.gpu else "cpu", max(1, int(share.cpu))
    trial = train(config["number"], architecture, device=device, threads=threads, **shared)
    try:
        for metrics in trial:
            tune.report(asdict(metrics))
    except Exception:
        tune.report({"failure": traceback.format_exc()})
    finally:
        # Reached too when the scheduler stops the trial, so that the worker's next one does not inherit its memory.
        trial.close()
        del trial
        release_memory()


class SessionSearcher(Searcher):
    """The session, spoken to in Ray Tune's words. Pickles as nothing, because the store is the state."""

    def __init__(self, session: Session, concurrency: int) -> None:
        super().__init__(metric="validation_error", mode="min")
        self._session, self._concurrency = session, concurrency
        self._numbers: dict[str, int] = {}
        self._failures: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        if len(self._session.running) >= self._concurrency:
            return None
        assignment = self._session.propose()
        if assignment is None:
            return Searcher.FINISHED if self._session.done else None
        self._numbers[trial_id] = assignment.number
        return {"number": assignment.number, "architecture": assignment.architecture.to_dict()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "failure" in result:
            self._failures[trial_id] = result["failure"]
        elif "epoch" in result:
            self._session.on_epoch(self._numbers[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False, **_: Any
    ) -> None:
        if error:
            return  # LostWorkers knows why
        self.on_trial_result(trial_id, result or {})
        self.end(trial_id, self._failures.pop(trial_id, None))

    def end(self, trial_id: str, failure: str | None) -> None:
        """A trial came to its end; `failure` is the reason where it failed."""
        self._session.on_end(self._numbers.pop(trial_id), failure=failure)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LostWorkers(Callback):
    """Tells of worker processes that died: in a line while there are retries, and after that as the trial's end."""

    def __init__(self, searcher: SessionSearcher, say: Callable[[str], None], retries: int) -> None:
        self._searcher, self._say, self._retries = searcher, say, retries

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        again = f"starts again from its checkpoint ({trial.num_failures} of {self._retries} times)"
        self._say(f"trial {trial.config['number']:>4} lost its worker process and {again}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        reason = "its worker process died, as after an out-of-memory kill, or could not start"
        self._searcher.end(trial.trial_id, f"{trial.get_pickled_error()}\n{reason}, more often than backend.retries")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class WhenSessionFails(Stopper):
    """Ends the trials that are running once the session has failed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._session.failed

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _scheduler(config: Scheduler, epochs: int, history: list[TrialRecord]) -> TrialScheduler:
    """ASHA with the rungs of the trials that ended before this process began, so that a resumed search stops alike."""
    if not isinstance(config, Asha) or config.grace_epochs >= epochs:
        return FIFOScheduler()
    asha = ASHAScheduler(
        time_attr="epoch",
        metric="validation_error",
        mode="min",
        max_t=epochs,
        grace_period=config.grace_epochs,
        reduction_factor=config.reduction_factor,
        stop_last_trials=False,
    )
    for record in history:
        if record.outcome in (COMPLETED, PRUNED):
            earlier: Any = SimpleNamespace(trial_id=f"earlier-{record.number}")
            for epoch, error in record.errors.items():
                asha._brackets[0].on_result(earlier, epoch, -error)
    return asha
