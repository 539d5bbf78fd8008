"""The strided convolution beside a layer against its formula."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seqconv.layers.shrinking import Shrinking
from tests.seqconv.layers.examples import random_tensors, randomised


def make_shrinking(*, norm: bool = True, activation: bool = True, bias: bool = False) -> Shrinking:
    conv = nn.Conv2d(6, 6, 3, 2, 1, groups=3, bias=bias)
    shrinking = Shrinking(conv, norm=nn.BatchNorm2d(6) if norm else None, activation=activation)
    randomised(shrinking.double())
    return shrinking


@pytest.mark.parametrize("activation", [False, True], ids=["linear", "ReLU"])
@pytest.mark.parametrize("norm", [False, True], ids=["alone", "norm"])
@pytest.mark.parametrize("with_shortcut", [False, True], ids=["without", "shortcut"])
def test_it_is_its_formula(norm: bool, activation: bool, with_shortcut: bool) -> None:
    shrinking = make_shrinking(norm=norm, activation=activation, bias=True).eval()
    x, shortcut = random_tensors((2, 6, 7, 4), (2, 6, 4, 2))
    pieces = zip(x.chunk(3, 1), shrinking.conv.weight.chunk(3, 0), shrinking.conv.bias.chunk(3), strict=True)
    raw = torch.cat([F.conv2d(piece, weight, bias, stride=2, padding=1) for piece, weight, bias in pieces], dim=1)
    raw = raw + shortcut if with_shortcut else raw
    act = raw
    if shrinking.norm is not None:
        mean, var, scale, shift = (
            t[:, None, None]
            for t in (
                shrinking.norm.running_mean,
                shrinking.norm.running_var,
                shrinking.norm.weight,
                shrinking.norm.bias,
            )
        )
        act = (raw - mean) / (var + 1e-5).sqrt() * scale + shift
    act = act.clamp(min=0) if activation else act
    found = shrinking(x, shortcut) if with_shortcut else shrinking(x)
    torch.testing.assert_close(found.raw, raw, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.act, act, rtol=1e-10, atol=1e-10)


def test_reset_parameters() -> None:
    shrinking = make_shrinking(bias=True)
    shrinking.reset_parameters()
    assert shrinking.conv.weight.abs().max() <= (6 / (6 * 9)) ** 0.5
    assert shrinking.conv.weight.abs().max() > 0.8 * (6 / (6 * 9)) ** 0.5
    assert not shrinking.conv.bias.any()
    assert shrinking.norm is not None
    fresh = nn.BatchNorm2d(6).double().state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in shrinking.norm.state_dict().items())
    shrinking.reset_parameters(zero=True)
    assert not shrinking.conv.weight.any()
