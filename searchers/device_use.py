"""How busy this machine is, in words, at no cost to the search."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from statistics import fmean

EVERY = 5.0
"""Seconds between two questions to a GPU's driver."""
_ASK = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class DeviceUse:
    """Looks at the load of the CPU when asked, and at that of the GPUs in a thread, because a driver may be slow.

    Args:
        gpus: whether the GPUs matter; no thread is started where they do not, or where nothing tells of them.
        ask: the command that prints how busy each GPU is, a percentage a line.
    """

    def __init__(self, *, gpus: bool, ask: Sequence[str] = _ASK) -> None:
        self._ask = ask
        self._percentages: list[float] = []
        self._closed = threading.Event()
        if gpus and shutil.which(ask[0]):
            threading.Thread(target=self._watch, name="gpu-use", daemon=True).start()

    def text(self) -> str:
        """One line: the CPU's load, and the mean of the GPUs where they are known."""
        known = self._percentages
        many = f"{len(known)} GPUs" if len(known) > 1 else "GPU"
        gpu = f", {many} {fmean(known):.0f}% busy" if known else ""
        return f"CPU load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores{gpu}"

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _watch(self) -> None:
        while True:
            self._percentages = _percentages(self._ask)
            if self._closed.wait(EVERY):
                return


def _percentages(ask: Sequence[str]) -> list[float]:
    """How busy each GPU is; nothing where the driver does not say."""
    try:
        said = subprocess.run(ask, capture_output=True, text=True, timeout=EVERY, check=True)
        return [float(line) for line in said.stdout.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
