"""What needs no second process; `test_parallel.py` has the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.full import processes

CPU = torch.device("cpu")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_one_process_needs_no_group() -> None:
    processes.check(0, 1)
    assert processes.total(torch.tensor([1.0, 2.0]), 1).tolist() == [1.0, 2.0]
    assert processes.largest(3.5, CPU, 1) == 3.5
    assert processes.from_first(lambda: "made", CPU, 0, 1) == "made"


def test_several_processes_need_a_group() -> None:
    message = "world 2 needs torch.distributed.init_process_group to be called before, in each process"
    with pytest.raises(ValueError, match=re.escape(message)):
        processes.check(0, 2)


@pytest.mark.parametrize(("rank", "world"), [(1, 2), (0, 2)])
def test_a_process_is_the_one_that_the_group_knows(rank: int, world: int, group: None) -> None:
    message = f"rank {rank} of world {world} is asked for, the process group has rank 0 of 1"
    with pytest.raises(ValueError, match=message):
        processes.check(rank, world)


def test_a_group_of_one_is_one_process(group: None) -> None:
    processes.check(0, 1)
