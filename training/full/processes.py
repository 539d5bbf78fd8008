"""What the processes of one training tell each other. With a world of one nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

T = TypeVar("T")


def check(rank: int, world: int) -> None:
    """This process must be the one of torch's process group that it says it is.

    Raises:
        ValueError: no group, or another rank or size.
    """
    if world == 1 and rank == 0:
        return
    if not distributed.is_initialized():
        raise ValueError(
            f"world {world} needs torch.distributed.init_process_group to be called before, in each process"
        )
    found = distributed.get_rank(), distributed.get_world_size()
    if found != (rank, world):
        raise ValueError(
            f"rank {rank} of world {world} is asked for, the process group has rank {found[0]} of {found[1]}"
        )


def total(values: Tensor, world: int) -> Tensor:
    """The sum over all processes; `values` itself is left as it is."""
    if world == 1:
        return values
    summed = values.clone()
    distributed.all_reduce(summed)
    return summed


def largest(value: float, place: torch.device, world: int) -> float:
    """The greatest over all processes."""
    if world == 1:
        return value
    values = torch.tensor(value, dtype=torch.float64, device=place)
    distributed.all_reduce(values, op=distributed.ReduceOp.MAX)
    return values.item()


def from_first(make: Callable[[], T], place: torch.device, rank: int, world: int) -> T:
    """What `make` returns in the first process, which alone calls it; an error there is raised in all of them."""
    if world == 1:
        return make()
    box: list[Any] = [None]
    if rank == 0:
        try:
            box[0] = make()
        except (ValueError, OSError) as error:
            box[0] = error
    distributed.broadcast_object_list(box, src=0, device=place)
    if isinstance(box[0], Exception):
        raise box[0]
    made: T = box[0]
    return made


def share_buffers(model: nn.Module, world: int) -> None:
    """Every process takes the buffers of the first: DistributedDataParallel does so only before the next step."""
    if world > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def average_buffers(model: nn.Module, world: int) -> None:
    """Every process takes the mean over all of them of each buffer of floating point."""
    if world > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer.div_(world))
