from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from seqconv import SeqConv2d, build
from tests.training.zero_cost.examples import CLASSES, TINY, batch
from training.zero_cost.preparation import (
    chain_of_features,
    he_normal,
    norms,
    standard_normal,
    step_by_step,
    weights,
    without_norms,
)


@pytest.mark.parametrize("form", ["plain", "bottleneck"])
def test_each_step_is_drawn_by_what_it_reads_itself(form: str) -> None:
    torch.manual_seed(0)
    layer = SeqConv2d(256, 128, group_width=64, pattern="dense", form=form)
    he_normal(layer)
    packed = layer.weight if layer.reduce_weight is None else layer.reduce_weight
    for step, sources in zip(layer.layout.steps, (4, 5), strict=True):
        kernel = packed[:, step].detach()
        assert kernel.shape[1] == sources * 64
        assert kernel.std().item() == pytest.approx(math.sqrt(2 / kernel[0].numel()), rel=0.05)
    if form == "bottleneck":
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.05)


def test_other_layers_are_drawn_by_their_fan_in_or_not() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 64, 3, groups=4), nn.Linear(400, 100))
    he_normal(model)
    deviations = [weight.std().item() for weight in weights(model)]
    assert deviations == pytest.approx([math.sqrt(2 / (16 * 9)), math.sqrt(2 / 400)], rel=0.05)
    standard_normal(model)
    assert [weight.std().item() for weight in weights(model)] == pytest.approx([1, 1], rel=0.05)


@pytest.mark.parametrize("initialise", [he_normal, standard_normal])
def test_norms_and_biases_start_afresh(initialise: object) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean, model[1].running_var):
            tensor.fill_(7.0)
    initialise(model)  # type: ignore[operator]
    assert [model[i].bias.unique().tolist() for i in range(3)] == [[0.0]] * 3
    norm = model[1]
    assert [tensor.unique().item() for tensor in (norm.weight, norm.running_mean, norm.running_var)] == [1, 0, 1]
    assert not any((weight == 7).any() for weight in weights(model))


def test_without_norms_they_are_the_identity() -> None:
    model = nn.BatchNorm2d(3).double()
    without_norms(model)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(model(x), x, rtol=1e-14, atol=0)


def test_steps_are_computed_by_the_reference_plan() -> None:
    model = build(TINY, classes=CLASSES)
    step_by_step(model)
    plans = [module.plan for module in model.modules() if isinstance(module, SeqConv2d)]
    assert len(plans) == 6
    assert set(plans) == {"reference"}


def test_every_batch_norm_is_found() -> None:
    model = build(TINY, classes=CLASSES)
    assert norms(model) == [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms(model)) > 8


def test_features_end_in_front_of_the_pooling_and_other_models_stay() -> None:
    model = build(TINY, classes=CLASSES)
    features = chain_of_features(model)
    assert features(batch().images_NCHW).shape == (6, 32, 4, 4)
    other = nn.Linear(3, 2)
    assert chain_of_features(other) is other
