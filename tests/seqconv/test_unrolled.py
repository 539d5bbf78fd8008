"""Unrolled layers and networks against the plans of the layer, over patterns, forms, steps and geometries."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import nn

import seqconv
from seqconv.layers.seqconv import SeqConv2d
from seqconv.unrolled import Unrolled, unroll
from tests.seqconv.layers.examples import FORMS, GEOMETRIES, SIZES, STEPS, make_layer, random_tensors, randomised
from tests.seqconv.networks import small


def assert_equal_streams(layer: SeqConv2d, *inputs: torch.Tensor) -> None:
    unrolled = unroll(layer)
    assert isinstance(unrolled, Unrolled)
    with torch.no_grad():
        for name, expected in layer.streams(*inputs)._asdict().items():
            found = unrolled.streams(*inputs)._asdict()[name]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9, msg=lambda text, of=name: f"{of}: {text}")
        torch.testing.assert_close(unrolled(*inputs), layer(*inputs), rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SIZES)
def test_a_layer_computes_the_same(kind: str, form: str) -> None:
    for step, output in zip(STEPS, itertools.cycle(("act", "raw")), strict=False):
        layer = make_layer(kind, mode="eval", output=output, **step, **FORMS[form])
        x, shortcut = random_tensors((2, layer.in_channels, 4, 5), (2, layer.out_channels, 4, 5))
        assert_equal_streams(layer, x)
        assert_equal_streams(layer, x, shortcut)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["window of G", "regular"])
@pytest.mark.parametrize("geometry", [*GEOMETRIES, {"stride": 2}], ids=str)
def test_other_geometries(geometry: dict[str, Any], kind: str, form: str) -> None:
    """With a stride the layer has a shrinking convolution behind it, or its steps take the stride themselves."""
    layer = make_layer(kind, mode="eval", **STEPS[0], **geometry, **FORMS[form])
    assert_equal_streams(layer, *random_tensors((2, layer.in_channels, 5, 6)))


@pytest.mark.parametrize("kind", ["dense", "dense, one step", "regular"])
def test_an_oldest_group_that_is_not_whole(kind: str) -> None:
    layer = make_layer(kind, group_width=4, missing=3, mode="eval", **STEPS[0])
    assert_equal_streams(layer, *random_tensors((2, layer.in_channels, 4, 5)))


def test_a_stride_in_front_of_a_layer_that_does_not_grow() -> None:
    layer = SeqConv2d(8, 8, stride=2, group_width=2, norm=True, activation=True, dtype=torch.float64).eval()
    assert layer.shrinking is not None and not layer.extends
    assert_equal_streams(randomised(layer), *random_tensors((2, 8, 5, 6), (2, 8, 3, 3)))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", small.FAMILIES)
@pytest.mark.parametrize("form", small.FORMS)
def test_a_network_computes_the_same_and_stays_as_it_is(family: str, form: str) -> None:
    network = seqconv.build(small.architecture(family=family, **small.FORMS[form]), classes=3, dropout=0.3).double()
    randomised(network)
    before = copy.deepcopy(network.state_dict())
    unrolled = unroll(network)
    assert network.training and not unrolled.training
    assert not any(isinstance(module, SeqConv2d) for module in unrolled.modules())
    (images,) = random_tensors((2, 3, 32, 32))
    with torch.no_grad():
        for parameter in unrolled.parameters():
            parameter.requires_grad_(False)
        torch.testing.assert_close(unrolled(images), network.eval()(images), rtol=1e-10, atol=1e-10)
        for parameter in unrolled.parameters():
            parameter.zero_()
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_the_steps_hold_the_weights_of_the_layer_and_no_others() -> None:
    layer = make_layer("window below G", mode="eval", norm=True, activation=True)
    sizes = [step.weight.shape for step in unroll(layer).steps]  # type: ignore[union-attr]
    assert sizes == [(2, 4, 3, 3)] * 6
    assert sum(size.numel() for size in sizes) == layer.weight.numel()


def test_what_has_no_such_layer_is_copied() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    unrolled = unroll(module)
    assert not unrolled.training and module.training
    assert [type(part) for part in unrolled] == [nn.Conv2d, nn.BatchNorm2d]  # type: ignore[attr-defined]
    assert unrolled[0].weight is not module[0].weight  # type: ignore[index]


def test_random_numbers_are_left_alone() -> None:
    layer = make_layer("dense", mode="eval", **FORMS["bottleneck"], norm=True)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    unroll(layer)
    assert torch.rand(1) == expected
