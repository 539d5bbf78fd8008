"""What share of a GPU every trial of a search takes where the user leaves it to us: so many as fit, by estimate.

One share for all, that of the network which keeps most for its backward pass: workers then serve any trial, one after
the other, and what is proposed is trained at once. Where the estimate is too low, batches are computed in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from search_spaces.explore import MeasuredSpace
from search_spaces.space import SearchSpace
from search_spaces.summary import SAMPLE
from searchers.config import AUTO, RayBackend, Resources
from seqconv.narrowing import narrowed

if TYPE_CHECKING:
    from seqconv import Complexity
    from training.data import Split
    from training.fidelity import Fidelity
    from training.trial import TrialConfig

STEPS = (0.125, 0.25, 0.5, 1.0)
"""Shares of a GPU that a trial may take."""
MARGIN = 1.25
"""Times the estimate of a step: for what convolutions need beside it and an allocator leaves unused. Not measured."""
_GB = 1e9


def resolved(
    resources: Resources, backend: RayBackend, needed: Callable[[], float], say: Callable[[str], None]
) -> Resources:
    """The resources with a number, or null where there is no GPU, in place of `gpu=auto`.

    Args:
        resources: what a trial asks for.
        backend: where Ray is; of a Ray of this machine, the driver knows how much memory its GPUs have.
        needed: asked for the bytes of a GPU that a trial takes at most.
        say: told what was found.

    Raises:
        ValueError: how much memory the GPUs have is not known.
    """
    if resources.gpu != AUTO:
        return resources
    local = backend.address == "local"
    memory = _memory() if resources.gpu_memory is None and local else resources.gpu_memory
    if backend.gpus == 0 or (memory is None and local):
        return replace(resources, gpu=None, gpu_memory=None)
    if memory is None:
        raise ValueError(
            f"resources.gpu={AUTO}: how much memory the GPUs of the cluster have is not known here; give that of the "
            "smallest in GB, such as resources.gpu_memory=80"
        )
    found = needed() / _GB
    share = share_of(found / memory)
    say(f"resources.gpu={share:g}: a trial takes up to {found:.2f} GB of a GPU of {memory:.0f} GB, by estimate")
    return replace(resources, gpu=share, gpu_memory=None)


def share_of(part: float) -> float:
    """The least share of a GPU that holds that part of its memory; all of it where that does not suffice either."""
    return next((step for step in STEPS if part <= step), STEPS[-1])


def most_needed(
    space: SearchSpace, config: TrialConfig, split: Split, epochs: Sequence[Fidelity], classes: int
) -> float:
    """Bytes of a GPU that a trial takes at most: its process, the images, and a step of the network that keeps most.

    Values count as float32, because what a GPU computes in is known in the worker alone.
    """
    from training import memory

    side = max(epoch.resolution for epoch in epochs)
    cost = largest(space, config, side, classes)
    batch = min(config.batch_size, max(epoch.images for epoch in epochs))
    images = (len(split.train_labels) + len(split.validation_labels)) * 3 * side**2
    return memory.CONTEXT_BYTES + images + MARGIN * memory.needed(cost, batch=batch, bytes_per_value=4)


def largest(space: SearchSpace, config: TrialConfig, side: int, classes: int) -> Complexity:
    """The cost of the network of a space that keeps most for its backward pass, of those that a short look finds."""
    from seqconv.complexity import measure

    measured = MeasuredSpace(space, resolution=side, classes=classes)
    architecture, _ = measured.extreme(measured.sample(SAMPLE, 0), "activation_bytes", most=True)
    return measure(narrowed(architecture, config.width), resolution=side, classes=classes, dropout=config.dropout)


def _memory() -> float | None:
    """GB of the smallest GPU of this machine; None where it has none."""
    from training.nvml import least_memory

    found = least_memory()
    return None if found is None else found / _GB
