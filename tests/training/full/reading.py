"""Reads numbers in two worker processes until it is stopped: python -m tests.training.full.reading"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch.utils.data import Dataset

from training.full.image_order import Key
from training.full.image_samples import Sample
from training.full.image_stream import Stream


@dataclass(frozen=True)
class Numbers(Dataset[Sample]):
    """Images of one pixel that say in which run they are. Labels are indices, problems the process and its parent."""

    def __getitem__(self, key: Key) -> Sample:
        run, index = key
        return Sample(torch.full((3, 1, 1), run, dtype=torch.uint8), index, f"{os.getpid()} {os.getppid()}")


@dataclass(frozen=True)
class Counting:
    """Runs of `steps` batches of two numbers; remembers where it was begun."""

    steps: int = 5
    last: int = 3
    begun: list[tuple[int, int]] = field(default_factory=list)

    def batches(self, run: int, start: int) -> Iterator[list[Key]]:
        self.begun.append((run, start))
        for number in range(run, max(run, self.last) + 1):
            for step in range(start if number == run else 0, self.steps):
                yield [(number, 2 * step), (number, 2 * step + 1)]


def main() -> None:
    stream = Stream(Numbers(), Counting(steps=10**9), workers=2, pinned=False)
    for step in range(10**9):
        stream.batch(1, step)
        if step == 10:
            print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)


if __name__ == "__main__":
    main()
