"""Batches read by worker processes that stay, ahead of being asked for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader, Dataset

from training.full.image_samples import Batch, Sample, collate

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from training.full.image_order import Key, Order

_PRELOADED = ["__main__", "training.full.image_samples"]
"""What all workers share: imported once, before they are forked."""


class Stream:
    """Batches by run and step. Asked for in their order they are read ahead; any other one may be asked for as well.

    Args:
        samples: what the workers read from.
        order: the keys of the batches.
        workers: how many processes; 0 is none but this one.
        pinned: whether batches come in memory that a GPU copies from while it computes.
    """

    def __init__(self, samples: Dataset[Sample], order: Order, *, workers: int, pinned: bool) -> None:
        self._steps = order.steps
        self._sampler = _Sampler(order)
        self._next: tuple[int, int] | None = None
        self._batches: Iterator[Batch] = iter(())
        self._loader: DataLoader[Sample] | None = DataLoader(
            samples,
            batch_sampler=self._sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pinned,
            worker_init_fn=_begin_worker,
            multiprocessing_context=_context() if workers else None,
            generator=torch.Generator(),  # by default each pass would take a number from the global ones
            persistent_workers=workers > 0,
        )

    def batch(self, run: int, step: int) -> Batch:
        """One batch of a run."""
        batch = next(self._batches, None) if self._next == (run, step) else None
        if batch is None:
            assert self._loader is not None, "the stream is closed"
            self._sampler.begin = (run, step)
            self._batches = iter(self._loader)
            batch = next(self._batches)
        self._next = (run, step + 1) if step + 1 < self._steps else (run + 1, 0)
        return batch

    def close(self) -> None:
        """End the workers: a loader does so when nothing refers to it any more."""
        self._batches, self._loader, self._next = iter(()), None, None


class _Sampler:
    """The keys of the batches from `begin` on. Knows nothing of the stream, so that they are no cycle of references."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.begin = (0, 0)

    def __iter__(self) -> Iterator[list[Key]]:
        return self.order.batches(*self.begin)


def worker_count(world: int) -> int:
    """Workers of one process of `world`: its share of the cores of the machine, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Whoever starts processes on several machines says how many of them are on this one.
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", world)))


def _context() -> BaseContext:
    """Workers are forked from a process of their own: one forked from this one would have its GPU and its threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _begin_worker(worker: int) -> None:
    """An interrupt from the keyboard reaches all processes and is the first one's to handle: it ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Torch's workers look whether the process that forked them is alive, which here is the fork server."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is a child"
    parent.join()
    os._exit(1)
