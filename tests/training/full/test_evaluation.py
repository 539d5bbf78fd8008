from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.full.evaluation import evaluate, with_measured_norms

CPU = torch.device("cpu")
OPTIONS: dict[str, Any] = {"autocast": contextlib.nullcontext, "world": 1}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout2d(0.5), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(n, 3, 4, 4, generator=generator), torch.randint(0, 3, (n,), generator=generator)) for n in sizes
    ]


def test_loss_and_error_are_means_over_images_not_over_batches() -> None:
    model, called = network(), []
    given = batches(7, 7, 2)
    loss, error = evaluate(model, given, place=CPU, between=lambda: called.append(1), **OPTIONS)
    images, labels = (torch.cat(part) for part in zip(*given, strict=True))
    with torch.inference_mode():
        logits = model.eval()(images)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert error == pytest.approx((logits.argmax(1) != labels).float().mean().item())
    assert len(called) == 3


def test_measured_norms_are_plain_means_over_the_batches() -> None:
    model, given = network(), batches(8, 8, 8)
    measured = with_measured_norms(model, given, **OPTIONS)
    raw = [model[0](images) for images, _ in given]
    mean = torch.stack([x.mean((0, 2, 3)) for x in raw]).mean(0)
    var = torch.stack([x.var((0, 2, 3)) for x in raw]).mean(0)
    torch.testing.assert_close(measured[2].running_mean, mean)
    torch.testing.assert_close(measured[2].running_var, var)
    assert measured[2].momentum == 0.1
    assert not any(module.training for module in measured.modules())


def test_measuring_norms_leaves_the_network_as_it_was() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measured = with_measured_norms(model, batches(8), **OPTIONS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert torch.equal(measured[0].weight, model[0].weight)
