from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from training.full.weights import save_weights


def test_weights_are_read_back_without_pickled_code(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    save_weights(tmp_path, model)
    found = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert found.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(found[name], value) and found[name].dtype == value.dtype


def test_tied_weights_are_written_twice(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    save_weights(tmp_path, model)
    found = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert torch.equal(found["0.weight"], found["1.weight"])
