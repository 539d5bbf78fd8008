"""Batches that the memory of the device does not hold are computed in parts, whose gradients are summed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

FEWEST = 2
"""Images of a part: batch norm cannot normalise a single one whose last feature map is one pixel."""
Result = TypeVar("Result")


class Parts:
    """In how many parts a batch is computed: twice as many whenever the device runs out of memory.

    Batch norm then normalises by the statistics of a part, so results differ slightly from those of whole batches.

    Args:
        count: to begin with.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def of(self, *batch: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """The parts of tensors that belong together, along their first dimension."""
        return zip(*(tensor.chunk(self.count) for tensor in batch), strict=True)

    def fit(self, work: Callable[[], Result], images: int) -> Result:
        """What `work` returns, called again with more parts as long as the memory does not suffice.

        Args:
            work: computes in parts; what it has changed by then must do no harm.
            images: of its batch.

        Raises:
            torch.OutOfMemoryError: parts of the fewest images do not fit either.
        """
        while True:
            try:
                return work()
            except torch.OutOfMemoryError as error:
                reason = str(error).strip().splitlines()[0]
            # Here, because an exception holds on to all that its frames do.
            self.count *= 2
            if images // self.count < FEWEST:
                least = f"not even batches in {self.count // 2} parts fit"
                raise torch.OutOfMemoryError(f"{reason} ({least}: give the trial more of the GPU, see resources.gpu)")
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.empty_cache()
