"""Batch norm of some channels at a time against `nn.BatchNorm2d` over all of them."""

import pytest
import torch
from torch import Tensor, nn

from seqconv.layers.step_norm import StepNorm
from tests.seqconv.layers.examples import random_tensors, randomised

STEPS = [slice(0, 2), slice(2, 3), slice(3, 6)]


def make_norm(*, training: bool, momentum: float | None = 0.3) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(6, eps=1e-3, momentum=momentum, dtype=torch.float64)
    randomised(norm)
    return norm.train(training)


def twins(*, training: bool, momentum: float | None = 0.3) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d]:
    return make_norm(training=training, momentum=momentum), make_norm(training=training, momentum=momentum)


def assert_same_buffers(one: nn.BatchNorm2d, other: nn.BatchNorm2d) -> None:
    for name, buffer in other.named_buffers():
        torch.testing.assert_close(one.get_buffer(name), buffer, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: n + m)


def test_no_norm() -> None:
    assert StepNorm.of(None) is None


def test_another_norm_is_refused() -> None:
    """Also one that computes something else under the name."""

    class Doubled(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    (synchronised,) = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(6)))
    for module in (synchronised, nn.GroupNorm(2, 6), nn.Identity(), nn.InstanceNorm2d(6, affine=True), Doubled(6)):
        name = type(module).__name__
        with pytest.raises(ValueError, match=rf"the norms of SeqConv2d must stay nn\.BatchNorm2d, got {name}"):
            StepNorm.of(module)  # type: ignore[arg-type]


@pytest.mark.parametrize("without", ["affine", "track_running_stats"])
def test_a_norm_without_weights_or_statistics_is_refused(without: str) -> None:
    with pytest.raises(ValueError, match=rf"must have weights and running statistics, got .*{without}=False"):
        StepNorm.of(nn.BatchNorm2d(6, **{without: False}))


@pytest.mark.parametrize("without", ["weight", "bias", "running_mean", "num_batches_tracked"])
def test_a_norm_that_lost_a_tensor_is_refused(without: str) -> None:
    norm = nn.BatchNorm2d(6)
    setattr(norm, without, None)
    with pytest.raises(ValueError, match="must have weights and running statistics"):
        StepNorm.of(norm)


@pytest.mark.parametrize("momentum", [0.3, 0.0, 1.0, None])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_channels_at_a_time_are_all_channels(training: bool, momentum: float | None) -> None:
    norm, whole = twins(training=training, momentum=momentum)
    for module in (norm, whole):
        module.num_batches_tracked.zero_()
    for seed in range(3):
        (x,) = random_tensors((3, 6, 2, 4), seed=seed)
        of = StepNorm.of(norm)
        assert of is not None
        found = torch.cat([of.step(mine)(x[:, mine]) for mine in STEPS], dim=1)
        torch.testing.assert_close(found, whole(x), rtol=1e-12, atol=1e-12)
        assert_same_buffers(norm, whole)
    assert int(norm.num_batches_tracked) == (3 if training else 0)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_forward_again_and_backward_outside_autograd(training: bool) -> None:
    norm, whole = twins(training=training)
    x, d = random_tensors((3, 6, 2, 4), (3, 6, 2, 4))
    leaf = x.clone().requires_grad_()
    expected = whole(leaf)
    expected.backward(d)
    assert leaf.grad is not None
    assert whole.weight.grad is not None
    assert whole.bias.grad is not None

    of = StepNorm.of(norm)
    assert of is not None
    for mine in STEPS:
        step = of.step(mine)
        with torch.no_grad():
            y, *statistics = step.forward(x[:, mine].contiguous())
            after = [buffer.clone() for buffer in norm.buffers()]
            torch.testing.assert_close(y, expected.detach()[:, mine], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(step.again(x[:, mine].contiguous(), *statistics), y, rtol=1e-12, atol=1e-12)
            gradients = step.backward(d[:, mine].contiguous(), x[:, mine].contiguous(), *statistics)
        assert all(map(torch.equal, norm.buffers(), after)), "statistics move once"
        wanted = (leaf.grad[:, mine], whole.weight.grad[mine], whole.bias.grad[mine])
        for one, other in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert_same_buffers(norm, whole)


def test_again_where_a_channel_hardly_varies() -> None:
    """The variance comes back out of the inverse deviation; it must not get lost beside eps."""
    norm = make_norm(training=True)
    (noise,) = random_tensors((4, 6, 3, 3))
    for scale in (0.0, 1e-7, 1e-3, 1e3):
        x = 2 + scale * noise
        of = StepNorm.of(norm)
        assert of is not None
        with torch.no_grad():
            y, *statistics = of.forward(x)
            again: Tensor = of.again(x, *statistics)
        torch.testing.assert_close(again, y, rtol=1e-8, atol=1e-8)


def test_one_value_a_channel_is_refused() -> None:
    """As `F.batch_norm` refuses it: its variance is 0 / 0."""
    of = StepNorm.of(make_norm(training=True))
    assert of is not None
    with pytest.raises(ValueError, match="more than 1 value per channel when training"):
        of.forward(torch.ones(1, 6, 1, 1, dtype=torch.float64))
