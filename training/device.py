"""Where a trial computes: choice of the device, its precision, its copy of the images, and its random numbers."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


def select(device: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one.

    Raises:
        ValueError: another kind of device, or a GPU that is not there.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if available else "cpu")
    try:
        selected = torch.device(device)
    except RuntimeError:
        selected = None
    if selected is None or selected.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:<number>, got {device!r}")
    if selected.type == "cuda" and (selected.index or 0) >= available:
        raise ValueError(f"device {device} is asked for, torch finds {available} GPUs here: use device auto or cpu")
    return selected


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The type to compute convolutions in; None is float32 throughout. "auto" takes bfloat16 where a GPU has it."""
    if precision == "auto":
        gains = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if gains else None
    return torch.bfloat16 if precision == "bfloat16" else None


def hold(images_NCHW: np.ndarray, labels: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 (N, H, W, C) images and int64 labels on the device.

    They are copied, because torch warns of arrays that are read-only, as those shared between processes are.
    """
    images = np.array(images_NCHW.transpose(0, 2, 3, 1), dtype=np.uint8, order="C")
    return torch.from_numpy(images).to(device), torch.from_numpy(np.array(labels, dtype=np.int64)).to(device)


def derive(seed: int, epoch: int) -> int:
    """A seed of its own for every epoch; epoch 0 stands for the initial weights."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Global random numbers from `seed` inside, on the CPU and the device, and the caller's afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def release_memory() -> None:
    """Give freed memory back to the system and the GPU: a worker trains many trials, one after another.

    glibc keeps what a thread freed for that thread's own use, and every trial has a thread of its own.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library, which has no malloc_trim
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
