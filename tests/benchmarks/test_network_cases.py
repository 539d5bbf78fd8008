"""Whole training steps: their rows, their peak memory, and the comparison with timm's resnet50."""

import sys
from types import SimpleNamespace

import network_cases
import pytest
import torch
from comparison import AUTO, BLOCKED, REFERENCE, TWIN, Options, Row, Setting, Variant
from layer_cases import saved_bytes
from network_cases import RESNET50, SEQRESNET, cifar_b, imagenet, network
from torch import nn

from seqconv.architecture import Architecture, Stage
from seqconv.complexity import measure_module
from seqconv.layers.seqconv import SeqConv2d

QUICK = Options(quick=True, repeats=1)
PEAKS = {TWIN: 2**20, REFERENCE: 3 * 2**20, BLOCKED: 1.5 * 2**20, AUTO: 1.25 * 2**20}


def of(rows: list[Row], variant: Variant) -> Row:
    return next(row for row in rows if row.variant == variant.name)


def test_rows_of_time_and_of_peak_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_cases, "_peak", lambda variant, setting, options: PEAKS[variant])
    time, peak = network(QUICK)
    for rows in (time, peak):
        assert [row.variant for row in rows] == [variant.name for variant in PEAKS for _ in range(2)]
        assert len({row.macs for row in rows}) == 1
    assert {row.case for row in time} == {"network"} and of(time, AUTO).bar == 1.4
    assert {row.case for row in peak} == {"network_peak"} and of(peak, AUTO).bar == 1.3
    assert [of(peak, variant).peak_mib for variant in PEAKS] == [1.0, 3.0, 1.5, 1.25]
    assert [of(peak, variant).ratio for variant in PEAKS] == [1.0, 3.0, 1.5, 1.25]


@pytest.mark.parametrize(("variant", "plan"), [(REFERENCE, "reference"), (BLOCKED, "blocked"), (AUTO, "auto")])
def test_every_layer_of_the_network_has_the_plan(variant: Variant, plan: str) -> None:
    layers = [module for module in cifar_b(variant, QUICK).modules() if isinstance(module, SeqConv2d)]
    assert {layer.plan for layer in layers} == {plan}
    assert not any(isinstance(module, SeqConv2d) for module in cifar_b(TWIN, QUICK).modules())


def test_the_network_is_the_one_of_the_grid() -> None:
    with torch.device("meta"):
        built = cifar_b(REFERENCE, Options())
    cost = measure_module(built, (3, 32, 32))
    assert (cost.params, cost.macs) == (380_378, 72_927_744)


def test_the_peak_holds_at_least_what_is_saved_for_backward() -> None:
    peak = network_cases._peak(TWIN, Setting("contiguous"), QUICK)
    saved = saved_bytes(cifar_b(TWIN, QUICK), torch.randn(64, 3, 16, 16))
    assert saved < peak < 3 * saved


def test_seqresnet_against_resnet50_per_multiply_add(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, num_classes: int) -> nn.Module:
        assert (name, num_classes) == ("resnet50", 1000)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

    small = Architecture(stages=(Stage(blocks=1, group_width=16),), pyramid=(1,), family="imagenet")
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    monkeypatch.setattr(network_cases, "preset", {"seqresnet_b22": small}.__getitem__)
    (rows,) = imagenet(QUICK)
    per_mac = {
        variant: min(row.ms_median / row.macs for row in rows if row.variant == variant.name)
        for variant in (RESNET50, SEQRESNET)
    }
    assert of(rows, SEQRESNET).ratio == pytest.approx(per_mac[SEQRESNET] / per_mac[RESNET50])
    assert (of(rows, SEQRESNET).bar, of(rows, RESNET50).bar) == (2.0, None)
    assert of(rows, SEQRESNET).macs > 100 * of(rows, RESNET50).macs
