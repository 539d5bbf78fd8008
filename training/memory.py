"""What memory of a GPU a training will take, estimated before it starts, and what it may take."""

from __future__ import annotations

import torch

from seqconv import Complexity
from training.parts import FEWEST

CONTEXT_BYTES = 750 * 2**20
"""What CUDA takes for a process beside its tensors; from other frameworks' advice, not measured here."""
_STATE_BYTES = 12
"""Of a parameter: the weight, its gradient and its momentum in float32."""


def limit(share: float) -> None:
    """Hold this process to its share of a GPU's memory, so that it runs out before its neighbours do.

    Args:
        share: of the GPU; 0 has none, and whole ones are not shared.
    """
    if 0 < share < 1:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(max(share - CONTEXT_BYTES / total, share / 2))


def available(place: torch.device) -> float:
    """Bytes that tensors of this process may take; infinite where they are in main memory."""
    if place.type != "cuda":
        return float("inf")
    free, total = torch.cuda.mem_get_info(place)
    return min(free, total * torch.cuda.get_per_process_memory_fraction(place))


def needed(cost: Complexity, *, batch: int, bytes_per_value: int, parts: int = 1) -> int:
    """Bytes that training steps take beside the images of the data set.

    Args:
        cost: of the network, at the resolution of the images.
        batch: images of a step.
        bytes_per_value: of what is kept for the backward pass: 4 in float32, 2 under autocast to bfloat16.
        parts: that the batch is computed in.
    """
    kept = cost.activation_bytes * bytes_per_value // 4 * -(-batch // parts)
    return kept + _STATE_BYTES * cost.params


def fewest_parts(cost: Complexity, *, batch: int, bytes_per_value: int, available: float) -> int:
    """Parts to compute a batch in so that it fits, a power of two; the most that there can be where none fits."""
    parts = 1
    while needed(cost, batch=batch, bytes_per_value=bytes_per_value, parts=parts) > available:
        if batch // (2 * parts) < FEWEST:
            break
        parts *= 2
    return parts
