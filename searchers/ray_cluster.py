"""Ray on this machine or on a cluster: joined once, and what a trial or a process of training gets of it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read when Ray is imported. Where a worker dies, Ray would print a paragraph, and we have a line for it; it also warns
# of many processes, of which each training has one that only waits.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", r"^(A worker died or was killed|WARNING: \d+ PYTHON worker proc)")

import ray
from ray._private.utils import read_ray_address
from ray.exceptions import RayError
from ray.util import placement_group, remove_placement_group

from searchers.config import RayBackend, Resources

_CODE = ("seqconv", "search_spaces", "training", "searchers", "promotion")
"""What the nodes of a cluster are sent, because they need not have it."""

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
"""Set before Ray starts, where the user has not. Ray's memory monitor would end the whole search with one trial."""
_ON_CLUSTERS = {"RAY_OVERRIDE_JOB_RUNTIME_ENV": "1", "TUNE_MAX_PENDING_TRIALS_PG": "1000"}
"""The same for a running cluster. The code sent is ours, also where the command is itself a job that brought some; and
an autoscaler is to see all trials that wait for nodes, of which Tune would show it one."""
FOLLOW_EVERY = 3.0
"""Seconds between two looks at which nodes there are."""
SAY_EVERY = 30.0
"""Seconds between two lines about waiting."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """What each process gets, resolved against what the cluster has."""

    cpu: float
    gpu: float
    concurrency: int
    """Trials, or trainings, at a time; where it follows the cluster, at the start."""
    cluster: str
    """What the cluster has, in words."""
    processes: int = 1
    """Of a trial or training."""
    follows: bool = False
    """Whether the concurrency follows the cluster, as nodes join it and are lost."""


class Room:
    """How many trials or trainings at a time, as of the moment.

    Args:
        share: what `connect` returned.
        say: told, in a line, where that changes.
    """

    def __init__(self, share: Share, say: Callable[[str], None]) -> None:
        self._share, self._say = share, say
        self._now, self._looked = share.concurrency, time.monotonic()

    def __call__(self) -> int:
        """At least one: where it has to wait, it shows an autoscaler that a node is needed."""
        if self._share.follows and time.monotonic() - self._looked >= FOLLOW_EVERY:
            self._looked = time.monotonic()
            room = max(1, _fits(self._share.cpu, self._share.gpu, self._share.processes))
            if room != self._now:
                self._say(f"the cluster has {_words()}: {room} at a time, {self._now} before")
                self._now = room
        return self._now


def connect(
    backend: RayBackend,
    resources: Resources,
    concurrency: int | None,
    *,
    processes: int = 1,
    say: Callable[[str], None] = print,
) -> Share:
    """Start or join Ray and resolve what a process gets.

    Args:
        backend: where Ray is.
        resources: what a process asks for.
        concurrency: trials or trainings at a time; None for as many as there is room for.
        processes: of a trial or training.
        say: where a line for the user goes.

    Raises:
        ValueError: a cluster that cannot be reached, or that has less than one trial or training asks for.
    """
    local = backend.address == "local"
    for name, value in (_ENVIRONMENT if local else _ENVIRONMENT | _ON_CLUSTERS).items():
        os.environ.setdefault(name, value)
    until = time.monotonic() + backend.wait
    try:
        if local:
            _start(backend)
        else:
            _check_answers(backend.address, until, say)
            _join(backend.address)
    except (OSError, RayError, RuntimeError, ValueError) as error:
        raise ValueError(f"backend.address={backend.address}: no Ray can be used there: {error}") from None
    try:
        fits, gpu = _room_for_one(backend, resources, processes, until, say)
    except BaseException:
        leave()
        raise
    at_a_time = concurrency or fits
    if at_a_time > fits and not local:
        say(f"concurrency={at_a_time}: there is room for {fits} at a time, the others wait for nodes to join")
    return Share(
        cpu=resources.cpu,
        gpu=gpu,
        concurrency=min(at_a_time, fits) if local else at_a_time,
        cluster=_words(),
        processes=processes,
        follows=concurrency is None and not local,
    )


def alive() -> list[dict[str, Any]]:
    """The nodes that have joined and are not lost, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def leave() -> None:
    """Leave Ray: all that still runs for this process ends, and a local Ray with it."""
    ray.shutdown()


def _start(backend: RayBackend) -> None:
    # Ray listens on every interface: with a token, nobody else can run code in this search.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    _init(address="local", num_cpus=backend.cpus, num_gpus=backend.gpus, include_dashboard=False)


def _join(address: str) -> None:
    """With the code as it is here in front of everything that the nodes have, an older checkout in the same place too.

    Ray puts neither this folder nor that of the script in front of what is sent to be worked in.
    """
    with tempfile.TemporaryDirectory(prefix="seqconv-code-") as folder:
        for name in _CODE:
            source = Path(__file__).parents[1] / name
            shutil.copytree(source, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        try:
            _init(address=address, runtime_env={"working_dir": folder})
        except ConnectionError as error:
            token = "it answers, so its token may be another one, see RAY_AUTH_MODE and RAY_AUTH_TOKEN"
            raise ValueError(f"{error}; {token}") from None


def _init(**settings: Any) -> None:
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)


def _check_answers(address: str, until: float, say: Callable[[str], None]) -> None:
    """Whether there is a cluster. Found out here, because Ray itself would try for a quarter of an hour."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or read_ray_address() or ""
        if not address:
            raise ValueError("none was started on this machine; start one with: ray start --head")
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ValueError(f"{address} is not of the form host:port")
    waiting = _Waiting(until, say)
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
                return
        except OSError as error:
            if not waiting.goes_on(f"{address} to answer: {error}"):
                raise


class _Waiting:
    """For something, until a moment on the monotonic clock, with a line about it now and then."""

    def __init__(self, until: float, say: Callable[[str], None]) -> None:
        self._until, self._say, self._said = until, say, float("-inf")

    def goes_on(self, what: str) -> bool:
        """Whether there is time left, after a moment of it."""
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        if time.monotonic() - self._said >= SAY_EVERY:
            self._said = time.monotonic()
            self._say(f"waiting for {what} (backend.wait, {left:.0f} s left; Ctrl-C ends it)")
        time.sleep(min(0.5, left))
        return True


def _room_for_one(
    backend: RayBackend, resources: Resources, processes: int, until: float, say: Callable[[str], None]
) -> tuple[int, float]:
    """How many trials or trainings the cluster holds, and what each process gets of a GPU."""
    asked, waiting = None, _Waiting(until, say)
    try:
        while True:
            has = ray.cluster_resources()
            cpus, gpus = has.get("CPU", 0.0), has.get("GPU", 0.0)
            gpu = resources.gpu if resources.gpu is not None else min(1.0, gpus)
            if fits := _fits(resources.cpu, gpu, processes):
                return fits, gpu
            too_much = _too_much(backend, {"cpu": (resources.cpu, cpus), "gpu": (gpu, gpus)}, processes)
            if backend.wait and asked is None:  # what an autoscaler looks at
                bundle = {"CPU": resources.cpu} | ({"GPU": gpu} if gpu else {})
                asked = placement_group([bundle] * processes)
            if not waiting.goes_on(f"nodes to join: {too_much}"):
                raise ValueError(too_much)
    finally:
        if asked is not None:
            remove_placement_group(asked)


def _fits(cpu: float, gpu: float, processes: int) -> int:
    return sum(_room(node["Resources"], cpu, gpu) for node in alive()) // processes


def _words() -> str:
    has = ray.cluster_resources()
    return f"{has.get('CPU', 0.0):g} CPUs, {has.get('GPU', 0.0):g} GPUs"


def _room(node: Mapping[str, float], cpu: float, gpu: float) -> int:
    """How many processes a node holds."""
    most = min(node.get("CPU", 0.0) / cpu, node.get("GPU", 0.0) / gpu if gpu else float("inf"))
    return int(most + 1e-9)


def _too_much(backend: RayBackend, of_each: Mapping[str, tuple[float, float]], processes: int) -> str:
    each = f" for each of processes={processes}" if processes > 1 else ""
    where = f"at backend.address={backend.address}"
    for name, (asked, there) in of_each.items():
        if asked * processes > there:
            return f"resources.{name}={asked:g}{each} is more than there is: {there:g} {name.upper()}s {where}"
    asked_of = " and ".join(f"resources.{name}={asked:g}" for name, (asked, _) in of_each.items())
    return f"{asked_of}{each} do not fit on the nodes {where}: none has enough of both"
