"""Images at another resolution."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

_CHUNK = 1000
"""Images at a time, for the memory."""


def resized(images_NCHW: np.ndarray, side: int) -> np.ndarray:
    """uint8 images of `side` pixels, by antialiased bilinear interpolation; the same array where they are so already.

    On the CPU, so that the pixels do not depend on the device.
    """
    if images_NCHW.shape[-1] == side:
        return images_NCHW
    small = np.empty((*images_NCHW.shape[:2], side, side), np.uint8)
    for start in range(0, len(small), _CHUNK):
        # In float: torch's uint8 kernel, four times as fast, fails on images of one pixel.
        chunk = torch.tensor(images_NCHW[start : start + _CHUNK]).float()
        chunk = F.interpolate(chunk, size=(side, side), mode="bilinear", antialias=True)
        small[start : start + _CHUNK] = chunk.round_().clamp_(0, 255)
    return small
