"""A driver of one GPU that uses 200 W and is busy as it is told."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pynvml
import pytest


class Driver:
    """Stands in for NVML.

    Args:
        counts: whether it counts energy, as those since Volta do.
    """

    def __init__(self, *, counts: bool = True) -> None:
        self.busy, self.counts, self.asked = 50, counts, list[str]()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From here on it is asked instead of the driver of this machine."""
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", self._handle)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", lambda _: SimpleNamespace(gpu=self.busy))
        monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", self._millijoules)

    def _handle(self, name: str) -> str:
        self.asked.append(name)
        return name

    def _millijoules(self, handle: str) -> int:
        if not self.counts:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return int(200_000 * time.perf_counter())
