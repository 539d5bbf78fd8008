"""How busy the GPU of a training is and what it uses, epoch by epoch."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from statistics import fmean
from types import TracebackType

from training.nvml import Gpu

EVERY = 0.5
"""Seconds between two looks."""


@dataclass(frozen=True, kw_only=True)
class Used:
    """Of the whole GPU, by all that runs on it; None where its driver does not tell."""

    gpu_utilisation: float | None = None
    """Mean share of the time in which it did anything, 0 to 1."""
    gpu_joules: float | None = None
    """Energy in joules."""


class GpuUse:
    """Looks at a GPU in a thread while a training runs; of no GPU it tells nothing.

    Args:
        gpu: where to look.
        every: seconds between two looks.
    """

    def __init__(self, gpu: Gpu | None, *, every: float = EVERY) -> None:
        self._gpu, self._every = gpu, every
        self._seen: list[float] = []
        self._joules: float | None = None
        self._closed = threading.Event()

    def __enter__(self) -> GpuUse:
        if self._gpu is not None:
            self._joules = self._gpu.joules()
            threading.Thread(target=self._watch, args=(self._gpu,), name="gpu-use", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closed.set()

    def read(self) -> Used:
        """Since the last call, or since the beginning."""
        if self._gpu is None:
            return Used()
        seen, self._seen = self._seen, []
        before, self._joules = self._joules, self._gpu.joules()
        return Used(
            gpu_utilisation=fmean(seen) if seen else self._gpu.utilisation(),
            gpu_joules=None if before is None or self._joules is None else self._joules - before,
        )

    def _watch(self, gpu: Gpu) -> None:
        while not self._closed.wait(self._every):
            if (busy := gpu.utilisation()) is not None:
                self._seen.append(busy)
