from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from tests.training.fake_nvml import Driver
from training import energy
from training.energy import measure_energy
from training.nvml import Gpu

CPU = torch.device("cpu")


class Slow(nn.Module):
    """Takes at least 10 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes = set[tuple[int, ...]]()

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training and torch.is_inference_mode_enabled()
        self.shapes.add(tuple(images.shape))
        time.sleep(0.01)
        return images


def test_millijoules_for_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver().install(monkeypatch)
    monkeypatch.setattr(energy, "gpu", lambda _: Gpu("GPU-1"))
    model = Slow()
    found = measure_energy(model, 8, place=CPU, min_run_time=0.3)
    assert 2000 <= found < 20_000  # 200 W for 10 ms or somewhat more
    assert model.shapes == {(1, 3, 8, 8)}


def test_nobody_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "energy on cpu: it takes an NVIDIA GPU whose driver counts it, Volta or newer, not a part"
    with pytest.raises(ValueError, match=message):
        measure_energy(Slow(), 8, place=CPU)
    Driver(counts=False).install(monkeypatch)
    monkeypatch.setattr(energy, "gpu", lambda _: Gpu("GPU-1"))
    with pytest.raises(ValueError, match=message):
        measure_energy(Slow(), 8, place=CPU)
