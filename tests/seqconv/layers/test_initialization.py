import math

import pytest
import torch
from torch import nn

from seqconv.layers.initialization import init_conv, init_linear


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


def test_zero() -> None:
    conv = nn.Conv2d(4, 4, 3)
    init_conv(conv, zero=True)
    assert not conv.weight.any()


def test_linear_is_uniform_within_the_bound_of_its_classes() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(512, 10)
    init_linear(linear)
    assert linear.weight.abs().max() <= math.sqrt(0.3)
    assert linear.weight.std().item() == pytest.approx(math.sqrt(0.1), rel=0.05)
    assert not linear.bias.any()
