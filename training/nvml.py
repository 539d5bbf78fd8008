"""What the driver of an NVIDIA GPU tells of it, through NVML. Other devices tell nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pynvml
import torch


@dataclass(frozen=True)
class Gpu:
    """One GPU, as its driver sees it: what all processes on it do together."""

    handle: Any
    """NVML's name of it."""

    def utilisation(self) -> float | None:
        """Share of the last moment, a sixth of a second to a second, in which it did anything, 0 to 1."""
        try:
            return float(pynvml.nvmlDeviceGetUtilizationRates(self.handle).gpu) / 100
        except pynvml.NVMLError:
            return None

    def joules(self) -> float | None:
        """Energy since the driver was loaded, in joules; None where it is not counted, as before Volta."""
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1000
        except pynvml.NVMLError:
            return None


def least_memory() -> int | None:
    """Bytes of the smallest GPU of this machine, hidden ones too; None where there is none, or no driver."""
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return min((int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in handles), default=None)
    except pynvml.NVMLError:
        return None


def gpu(place: torch.device) -> Gpu | None:
    """The GPU of a torch device; None where it has none, or its driver tells nothing, as of a part of a GPU (MIG)."""
    if place.type != "cuda":
        return None
    try:
        pynvml.nvmlInit()
        # By its own name: the numbers of torch and of the driver differ where some GPUs are hidden.
        return Gpu(pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(place).uuid}"))
    except pynvml.NVMLError:
        return None
