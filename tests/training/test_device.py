from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from training.device import autocast_type, derive, hold, seeded, select

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(("count", "expected"), [(0, CPU), (1, GPU)])
def test_auto_is_a_gpu_where_there_is_one(count: int, expected: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, count)
    assert select("auto") == expected
    assert select("cpu") == CPU


def test_a_gpu_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert select("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(("count", "name"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2")])
def test_a_gpu_that_is_not_there_is_refused(count: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(
        ValueError, match=f"device {name} is asked for, torch finds {count} GPUs here: use device auto or cpu"
    ):
        select(name)


@pytest.mark.parametrize("name", ["gpu", "meta", "", "cuda:x"])
def test_another_kind_of_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"device must be auto, cpu, cuda or cuda:<number>, got '{name}'"):
        select(name)


@pytest.mark.parametrize(
    ("precision", "place", "expected"),
    [
        ("auto", CPU, None),
        ("auto", GPU, torch.bfloat16),
        ("float32", GPU, None),
        ("bfloat16", CPU, torch.bfloat16),
    ],
)
def test_precision(
    precision: str, place: torch.device, expected: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert autocast_type(precision, place) == expected


def test_a_gpu_without_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert autocast_type("auto", GPU) is None


def test_read_only_arrays_are_copied_without_a_warning() -> None:
    images, labels = np.arange(24, dtype=np.uint8).reshape(1, 3, 2, 4), np.array([7])
    images.flags.writeable = labels.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held, held_labels = hold(images, labels, CPU)
    held += 1
    held_labels += 1
    assert held.shape == (1, 2, 4, 3)
    assert held.is_contiguous()
    assert held[0, 1, 3].tolist() == [8, 16, 24]
    assert images[0, :, 1, 3].tolist() == [7, 15, 23]
    assert labels.tolist() == [7]


def test_seeds_of_epochs_and_trials_are_all_different() -> None:
    seeds = {derive(seed, epoch) for seed in range(30) for epoch in range(30)}
    assert len(seeds) == 900
    assert derive(3, 4) == derive(3, 4)


def test_seeded_numbers_repeat_and_the_callers_go_on() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(5, CPU):
        first = torch.rand(2)
    with pytest.raises(KeyError), seeded(5, CPU):
        assert torch.equal(torch.rand(2), first)
        raise KeyError
    assert torch.equal(torch.rand(2), expected)
