"""Where a search ran: what one needs to run it again."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from searchers.redaction import redacted_text

_PACKAGES = ("seqconv-nas", "torch", "torchvision", "ray", "optuna", "hydra-core", "wandb", "numpy", "pandas")


def describe(cluster: str, dataset_source: str) -> dict[str, Any]:
    """Versions, devices, commit and command line, as plain data."""
    import torch

    from seqconv.latency import cpu_name

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": redacted_text(shlex.join(sys.argv)),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {"model": cpu_name(), "cores": os.cpu_count(), "native": _native()},
        "gpus": devices,
        "cluster": cluster,
        "dataset_source": dataset_source,
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _native() -> str:
    """What layers are compiled for here, or why they are not: results differ in rounding."""
    import torch

    from seqconv.native import library

    reason = library.unavailable()
    return torch.backends.cpu.get_cpu_capability() if reason is None else f"no: {reason}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the code, with '-dirty' where files differ from it; None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
