"""Random crop and horizontal flip of a whole batch, on the device, in one gather.

Shape suffixes: N batch, H height, W width, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def draw(images: int, *, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Row offset, column offset (both in 0 .. 2 * padding) and flip (0 or 1) of each image: (images, 3) int64."""
    offsets = torch.randint(0, 2 * padding + 1, (images, 2), generator=generator)
    flips = torch.randint(0, 2 if flip else 1, (images, 1), generator=generator)
    return torch.cat([offsets, flips], dim=1)


def crop_flip(images_NHWC: Tensor, draws_N3: Tensor, *, padding: int) -> Tensor:
    """Each image padded with black, cropped to its size at its own offset, and mirrored where its flip is 1."""
    n, height, width, _ = images_NHWC.shape
    device = images_NHWC.device
    row, column, flip = draws_N3[:, :, None].unbind(dim=1)
    across = torch.arange(width, device=device)
    rows_NH = row + torch.arange(height, device=device)
    columns_NW = column + torch.where(flip == 1, width - 1 - across, across)
    padded = F.pad(images_NHWC, (0, 0, padding, padding, padding, padding))
    image = torch.arange(n, device=device)[:, None, None]
    return padded[image, rows_NH[:, :, None], columns_NW[:, None, :]]
