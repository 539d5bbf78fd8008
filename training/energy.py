"""What energy a network takes for an image, counted by the driver of an NVIDIA GPU."""

from __future__ import annotations

import time

import torch
from torch import nn

from training.nvml import gpu

MIN_RUN_TIME = 2.0
"""Seconds to measure for: the counter moves about ten times a second."""


def measure_energy(
    model: nn.Module, resolution: int, *, place: torch.device, min_run_time: float = MIN_RUN_TIME
) -> float:
    """Millijoules for a forward pass of one image, images one after the other, in inference mode and float32.

    It is the energy of the whole GPU, so nothing else should run on it.

    Args:
        model: maps (N, 3, H, W) images; is moved to the device.
        resolution: side of the square image, in pixels.
        place: the GPU.
        min_run_time: seconds to measure for, at least.

    Raises:
        ValueError: a device whose energy nobody counts.
    """
    counter = gpu(place)
    before = counter.joules() if counter else None
    if counter is None or before is None:
        raise ValueError(
            f"energy on {place}: it takes an NVIDIA GPU whose driver counts it, Volta or newer, not a part"
        )
    model.to(place).eval()
    image = torch.randn(1, 3, resolution, resolution, generator=torch.Generator().manual_seed(0)).to(place)
    with torch.inference_mode():
        _pass(model, image, place)
        before, start, passes = counter.joules(), time.perf_counter(), 0
        while time.perf_counter() - start < min_run_time:
            _pass(model, image, place)
            passes += 1
        after = counter.joules()
    assert before is not None and after is not None
    return 1000 * (after - before) / passes


def _pass(model: nn.Module, image: torch.Tensor, place: torch.device) -> None:
    model(image)
    if place.type == "cuda":
        torch.cuda.synchronize(place)
