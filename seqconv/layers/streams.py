"""The two tensors that flow between SeqConv layers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Streams(NamedTuple):
    """Both (N, C, H, W): identity shortcuts follow `raw`, convolutions read `act`."""

    raw: Tensor
    act: Tensor
