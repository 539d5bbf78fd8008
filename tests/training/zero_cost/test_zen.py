from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from seqconv import build
from tests.training.zero_cost.examples import CLASSES, TINY
from training.zero_cost.preparation import standard_normal
from training.zero_cost.zen import PERTURBATION, zen

SIZE = (6, 3, 8, 8)


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    noise, change = torch.randn(SIZE), torch.randn(SIZE)
    torch.manual_seed(seed)
    return noise, noise + PERTURBATION * change


def normalised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Batch norm, and the unbiased variance of each channel."""
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt(), x.var((0, 2, 3))


def test_the_distance_of_features_and_the_deviations_that_batch_norm_took_out() -> None:
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 5, 3, bias=False)]
    layers = [layer for conv in convolutions for layer in (conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())]
    noise, moved = drawn(3)
    expected, features = 0.0, []
    for number, x in enumerate((noise, moved)):
        for conv in convolutions:
            x, variances = normalised(conv(x))
            x = x.relu()
            expected += math.log(variances.mean().item()) / 2 if number == 0 else 0.0
        features.append(x)
    distances = [(a - b).square().sum().sqrt().item() for a, b in zip(*features, strict=True)]
    expected += math.log(sum(distances) / len(distances))
    assert zen(nn.Sequential(*layers), torch.zeros(SIZE)) == pytest.approx(expected, abs=1e-4)


def test_it_undoes_batch_norm() -> None:
    """Of a chain of one channel it is what it would be without batch norm, but for the statistics of the second x."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 1, 3, bias=False), nn.Conv2d(1, 1, 3, bias=False)]
    with_norms = nn.Sequential(*(layer for conv in convolutions for layer in (conv, nn.BatchNorm2d(1), nn.Identity())))
    torch.manual_seed(3)
    with_score = zen(with_norms, torch.zeros(SIZE))
    torch.manual_seed(3)
    assert with_score == pytest.approx(zen(nn.Sequential(*convolutions), torch.zeros(SIZE)), abs=0.05)


def test_larger_weights_move_features_further_though_batch_norm_hides_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    scores = []
    for factor in (1.0, 10.0):
        torch.manual_seed(3)
        model[0].weight.data *= factor
        scores.append(zen(model, torch.zeros(SIZE)))
    assert scores[1] - scores[0] == pytest.approx(math.log(10), abs=1e-3)


def test_a_network_counts_without_its_residual_links_and_its_classifier() -> None:
    def made() -> nn.Module:
        torch.manual_seed(0)
        model = build(TINY, classes=CLASSES)
        standard_normal(model)
        return model

    def chained(model: nn.Module, x: Tensor) -> Tensor:
        parts = dict(model.named_children())
        flow = parts["head"](parts["stem"](x))
        for name in ("stage1_block1", "stage2_down", "stage2_block1"):
            part = parts[name]
            flow = part(flow) if "down" in name else part.layer_b.streams(part.layer_a(flow.act))
        return parts["blender"](flow)

    model = made().train()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 1.0
    noise, moved = drawn(3)
    before = chained(model, noise)
    variances = [m.running_var.mean().item() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    distance = (before - chained(model, moved)).flatten(1).norm(dim=1).mean().item()
    expected = math.log(distance) + sum(math.log(variance) / 2 for variance in variances)
    scored = made()
    torch.manual_seed(3)
    assert zen(scored, torch.zeros(SIZE)) == pytest.approx(expected, rel=1e-5)


def test_features_that_do_not_move_are_minus_infinity() -> None:
    model = nn.Conv2d(3, 1, 3)
    nn.init.zeros_(model.weight)
    assert zen(model, torch.zeros(SIZE)) == -math.inf
