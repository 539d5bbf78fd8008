"""Folded batch norm against torch's own on the same tensors."""

import pytest
import torch
from torch import Tensor, nn

from seqconv.layers import folded_norm
from seqconv.layers.step_norm import StepNorm
from tests.seqconv.layers.examples import randomised

ENOUGH = folded_norm.MIN_VALUES


def some(channels: int, *, values: int = ENOUGH, dtype: torch.dtype = torch.float64) -> Tensor:
    """(4, channels, H, 32) in channels_last, every channel with a mean and a deviation of its own."""
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(4, channels, values // (128 * channels), 32, generator=generator, dtype=dtype)
    scale = torch.arange(1, channels + 1, dtype=dtype)[:, None, None]
    return (x * scale + 3 * scale).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [1, 2, 4, 8, 16])
def test_it_is_batch_norm(channels: int) -> None:
    whole = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3, dtype=torch.float64)
    folded = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3, dtype=torch.float64)
    for norm in (whole, folded):
        randomised(norm)
    x = some(channels)
    d = torch.randn_like(x)
    leaf = x.clone().requires_grad_()
    expected = whole(leaf)
    expected.backward(d)
    of = StepNorm.of(folded)
    assert of is not None
    assert folded_norm.folds(x, of.weight)
    with torch.no_grad():
        y, *statistics = of.forward(x)
        d_x, d_weight, d_bias = of.backward(d, x, *statistics)
        torch.testing.assert_close(of.again(x, *statistics), y, rtol=1e-10, atol=1e-10)
    assert leaf.grad is not None
    assert d_x.is_contiguous(memory_format=torch.channels_last)
    wanted = (expected.detach(), leaf.grad, whole.weight.grad, whole.bias.grad)
    for one, other in zip((y, d_x, d_weight, d_bias), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    for name, buffer in whole.named_buffers():
        torch.testing.assert_close(folded.get_buffer(name), buffer, rtol=1e-12, atol=1e-12)


def test_rounding_is_that_of_batch_norm() -> None:
    """A mean of 1000 deviations: the variance of the folded channels is not taken from squares."""
    x = some(8, dtype=torch.float32) / 8 + 1000
    mean, variance = folded_norm.mean_and_variance(x)
    exact = x.double()
    torch.testing.assert_close(mean.double(), exact.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), exact.var((0, 2, 3), correction=0), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "x",
    [
        some(8, values=ENOUGH // 2),
        some(32),
        some(8).contiguous(),
        some(16)[:, :8],
        torch.zeros(1, 3, 2**9, 2**9).contiguous(memory_format=torch.channels_last),
        torch.zeros(1, 8, 2**15 + 1, 1).contiguous(memory_format=torch.channels_last),
        torch.zeros(1, 8, 2**15, 1, device="meta").contiguous(memory_format=torch.channels_last),
        some(8, dtype=torch.bfloat16),
    ],
    ids=["few values", "many channels", "NCHW", "some channels", "3 channels", "a pixel over", "device", "mixed types"],
)
def test_where_it_cannot_or_need_not_be(x: Tensor) -> None:
    weight = torch.ones(x.shape[1], dtype=torch.float32 if x.dtype == torch.bfloat16 else x.dtype)
    assert not folded_norm.folds(x, weight)
