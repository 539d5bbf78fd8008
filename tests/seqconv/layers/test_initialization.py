import math

import pytest
import torch
from torch import nn

from seqconv.layers.initialization import init_conv, init_linear, init_weight


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 1), (3, 4)])
def test_conv_is_uniform_within_the_bound_of_its_fan_out(kernel: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 128, kernel, groups=groups)
    init_conv(conv)
    bound = math.sqrt(6 / (128 * kernel**2))
    assert conv.weight.abs().max() <= bound
    assert conv.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert conv.bias is not None
    assert not conv.bias.any()


@pytest.mark.parametrize("shape", [(8, 200, 3, 3), (8, 500, 5, 1), (64, 8, 3, 3)])
def test_kernels_side_by_side_have_the_fan_out_of_one(shape: tuple[int, ...]) -> None:
    """However the kernels lie: each emits 8 channels."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.empty(shape))
    init_weight(weight, 8)
    bound = math.sqrt(6 / (8 * shape[2] * shape[3]))
    assert 0.99 * bound < weight.max() <= bound
    assert -bound <= weight.min() < -0.99 * bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_zero() -> None:
    conv = nn.Conv2d(4, 4, 3)
    init_conv(conv, zero=True)
    assert not conv.weight.any()
    weight = torch.ones(2, 2, 3, 3)
    init_weight(weight, 2, zero=True)
    assert not weight.any()


def test_linear_is_uniform_within_the_bound_of_its_classes() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(512, 10)
    init_linear(linear)
    assert linear.weight.abs().max() <= math.sqrt(0.3)
    assert linear.weight.std().item() == pytest.approx(math.sqrt(0.1), rel=0.05)
    assert not linear.bias.any()
