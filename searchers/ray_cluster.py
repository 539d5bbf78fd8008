"""Ray on this machine or on a cluster: joined once, and what a trial or a process of training gets of it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass

# Read when Ray is imported. Where a worker dies, Ray would print a paragraph, and we have a line for it; it also warns
# of many processes, of which each training has one that only waits.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", r"^(A worker died or was killed|WARNING: \d+ PYTHON worker proc)")

import ray
from ray._private.utils import read_ray_address

from searchers.config import RayBackend, Resources

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
    """What each process gets, resolved against what the cluster has."""

    cpu: float
    gpu: float
    concurrency: int
    """Trials, or trainings, at a time."""
    cluster: str
    """What the cluster has, in words."""


def connect(backend: RayBackend, resources: Resources, concurrency: int | None, *, processes: int = 1) -> Share:
    """Start or join Ray and resolve what a process gets.

    Args:
        backend: where Ray is.
        resources: what a process asks for.
        concurrency: trials or trainings at a time; None for as many as there is room for.
        processes: of a trial or training.

    Raises:
        ValueError: a cluster that cannot be reached, or that has less than one trial or training asks for.
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
    fits = sum(_room(node["Resources"], resources.cpu, gpu) for node in ray.nodes() if node["Alive"]) // processes
    if not fits:
        leave()
        raise ValueError(_too_much(backend, {"cpu": (resources.cpu, cpus), "gpu": (gpu, gpus)}, processes))
    words = f"{cpus:g} CPUs, {gpus:g} GPUs"
    return Share(cpu=resources.cpu, gpu=gpu, concurrency=min(fits, concurrency or fits), cluster=words)


def leave() -> None:
    """Leave Ray: all that still runs for this process ends, and a local Ray with it."""
    ray.shutdown()


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
