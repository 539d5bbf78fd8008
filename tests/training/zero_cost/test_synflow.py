from __future__ import annotations

import math
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from seqconv import Architecture, build
from seqconv.networks.network import Network
from tests.training.zero_cost.examples import CLASSES, TINY
from training.zero_cost.preparation import he_normal, weights, without_norms
from training.zero_cost.synflow import synflow

IMAGE = torch.full((3, 8, 8), math.nan)


def test_a_two_layer_linear_network_in_closed_form() -> None:
    # R = 1' |W2| |W1| 1, and both layers' sums of w * dR/dw are R.
    first, second = torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([[-3.0, 4.0]])
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    model[0].weight.data, model[1].weight.data = first, second
    flow = 3 * 3 + 4 * 0.5
    assert synflow(model, torch.zeros(2)) == pytest.approx(math.log(2 * flow))


def test_batch_norm_and_relu_change_nothing() -> None:
    def made(*between: nn.Module) -> nn.Sequential:
        torch.manual_seed(0)
        first, last = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4 * 36, 2, bias=False)
        return nn.Sequential(first, *between, nn.Flatten(), last)

    plain = synflow(made(), IMAGE)
    assert synflow(made(nn.BatchNorm2d(4), nn.ReLU()), IMAGE) == pytest.approx(plain, abs=1e-12)


def summed(architecture: Architecture) -> float:
    """The definition, without what keeps it from overflowing."""
    model = built(architecture).double()
    without_norms(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    gradients = torch.autograd.grad(model(torch.ones(1, 3, 8, 8, dtype=torch.float64)).sum(), weights(model))
    return sum((w * g).sum().item() for w, g in zip(weights(model), gradients, strict=True))


def built(architecture: Architecture) -> nn.Module:
    torch.manual_seed(0)
    model = build(architecture, classes=CLASSES)
    he_normal(model)
    return model


def test_a_network_as_it_is_defined() -> None:
    assert synflow(built(TINY), IMAGE) == pytest.approx(math.log(summed(TINY)), rel=1e-12)


def test_a_flow_beyond_float64_in_closed_form() -> None:
    # R = 1' (1e30 M)^20 1 = 1e600 * 2 * 3^20 for rows of M that sum to 3, and each of 20 layers' sums is R.
    parts = OrderedDict((f"part{i}", nn.Linear(2, 2, bias=False)) for i in range(20))
    for part in parts.values():
        part.weight.data = 1e30 * torch.tensor([[1.0, -2.0], [-3.0, 0.0]])
    expected = math.log(20) + 600 * math.log(10) + math.log(2) + 20 * math.log(3)
    assert expected > math.log(sys.float_info.max)
    assert synflow(Network(parts), torch.zeros(2)) == pytest.approx(expected)


def test_no_flow_is_minus_infinity() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    assert synflow(model, torch.zeros(2)) == -math.inf
