"""The estimate is checked on main memory; a GPU is played, because here there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import seqconv
from seqconv import Complexity
from tests.training.test_trainer import make
from tests.training.tiny import CLASSES, TINY, split
from training import memory
from training.trainer import Trainer

COST = Complexity(params=1000, macs=1, paper_flops=1, serial_depth=1, unread_groups=0, activation_bytes=4096)
GB = 2**30


def saved(trainer: Trainer) -> int:
    """Bytes that autograd saves for a batch, beside parameters and what a batch of any size needs once."""
    images, labels = next(iter(trainer.batches(1)))
    trainer.model.train()
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in (*trainer.model.parameters(), *trainer.model.buffers())}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = torch.nn.functional.cross_entropy(trainer.model(images), labels)
    found = sum(kept.values())
    del loss
    return found


def test_what_a_step_keeps_is_what_was_estimated() -> None:
    trainer = make(split(64))
    side = trainer.fidelity.resolution
    cost = seqconv.measure(TINY, resolution=side, classes=CLASSES, dropout=trainer.config.dropout)
    estimate = memory.needed(cost, batch=trainer.batch_size, bytes_per_value=4) - 12 * cost.params
    assert estimate == pytest.approx(saved(trainer), rel=0.1)


def test_bytes_of_a_step() -> None:
    whole = memory.needed(COST, batch=64, bytes_per_value=4)
    assert whole == 4096 * 64 + 12 * 1000
    assert memory.needed(COST, batch=64, bytes_per_value=2) == 4096 * 32 + 12 * 1000
    assert memory.needed(COST, batch=64, bytes_per_value=4, parts=4) == 4096 * 16 + 12 * 1000
    assert memory.needed(COST, batch=65, bytes_per_value=4, parts=4) == 4096 * 17 + 12 * 1000


@pytest.mark.parametrize(
    ("available", "parts"),
    [(1e9, 1), (4096 * 64 + 12_000, 1), (4096 * 64 + 11_999, 2), (4096 * 8 + 12_000, 8), (0, 32)],
)
def test_the_fewest_parts_that_fit(available: float, parts: int) -> None:
    assert memory.fewest_parts(COST, batch=64, bytes_per_value=4, available=available) == parts


def test_a_trial_begins_with_as_many_parts_as_it_should_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(split(64)).parts.count == 1
    cost = seqconv.measure(TINY, resolution=split().train_images.shape[-1], classes=CLASSES)
    half = memory.needed(cost, batch=16, bytes_per_value=4, parts=2)
    monkeypatch.setattr(memory, "available", lambda place: half)
    trainer = make(split(64), dropout=0.0)
    assert trainer.parts.count == 2
    assert trainer.epoch(1).parts == 2


class TestGpu:
    @pytest.fixture
    def limits(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """What processes are held to, of a GPU of 40 GB."""
        found: list[Any] = []
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", found.append)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=40 * GB))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 * GB, 40 * GB))
        monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _: found[-1])
        return found

    @pytest.mark.parametrize("share", [0.0, 1.0, 2.0])
    def test_what_is_not_shared_is_not_limited(self, limits: list[float], share: float) -> None:
        memory.limit(share)
        assert limits == []

    def test_four_trials_and_their_contexts_fit_on_one(self, limits: list[float]) -> None:
        memory.limit(0.25)
        assert 4 * (limits[0] * 40 * GB + memory.CONTEXT_BYTES) == pytest.approx(40 * GB)
        assert memory.available(torch.device("cuda:0")) == 8 * GB, "that is free"
        memory.limit(0.02)
        assert limits[1] == 0.01
        assert memory.available(torch.device("cuda:0")) == pytest.approx(0.4 * GB)

    def test_main_memory_is_not_limited(self) -> None:
        assert memory.available(torch.device("cpu")) == float("inf")
