from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.zero_cost.examples import convolutional, loss_of, small_batch
from training.zero_cost.activations import fisher, naswot


class Functional(nn.Module):
    """`convolutional` with the ReLU as one of torch's functions."""

    def __init__(self, relu: object) -> None:
        super().__init__()
        self.relu = relu
        self.before, self.after = (part := convolutional())[:2], part[3:]

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.relu(self.before(images)))  # type: ignore[operator]


RELUS = [torch.relu, torch.relu_, nn.functional.relu, Tensor.relu, Tensor.relu_, nn.ReLU(inplace=True)]


def test_naswot_is_the_log_determinant_of_how_many_bits_agree() -> None:
    images, _ = small_batch(5)
    model = convolutional().train()
    codes = (model[:2](images) > 0).flatten(1).numpy()
    kernel = np.array([[np.sum(one == other) for other in codes] for one in codes], dtype=np.float64)
    sign, expected = np.linalg.slogdet(kernel)
    assert sign == 1
    assert naswot(model, images) == pytest.approx(expected)


def test_naswot_by_hand() -> None:
    # Codes 10 and 11: K = [[2, 1], [1, 2]], whose determinant is 3.
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    assert naswot(model, torch.tensor([[1.0, -1.0], [2.0, 3.0]])) == pytest.approx(math.log(3))


def test_naswot_adds_the_bits_of_all_relus() -> None:
    # Behind the second ReLU everything is on but zeros: codes 10, 10 and 11, 11 once more: K = [[4, 2], [2, 4]].
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    assert naswot(model, torch.tensor([[1.0, -1.0], [2.0, 3.0]])) == pytest.approx(math.log(12))


def test_images_that_switch_the_same_relus_make_naswot_minus_infinity() -> None:
    assert naswot(nn.Sequential(nn.ReLU()), torch.tensor([[1.0, -1.0], [2.0, -3.0]])) == -math.inf


def test_fisher_is_how_the_loss_changes_with_a_mask_on_the_channels_of_each_image() -> None:
    """With respect to one mask for each image and channel behind the ReLU; the last layers are nets of their own."""
    model, data = convolutional().train(), small_batch()
    activations = model[:3](data.images_NCHW).detach()
    step, total = 1e-6, 0.0
    for image in range(4):
        for channel in range(2):
            losses = []
            for factor in (1 + step, 1 - step):
                masked = activations.clone()
                masked[image, channel] *= factor
                losses.append(nn.functional.cross_entropy(model[3:](masked), data.labels).item())
            total += ((losses[0] - losses[1]) / (2 * step)) ** 2 / (2 * 4)
    assert total > 0
    assert fisher(model, *data) == pytest.approx(total, rel=1e-6)


def test_fisher_of_features_without_positions() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)).double()
    images, labels = torch.randn(5, 4, dtype=torch.float64), torch.arange(5) % 3
    activations = model[:2](images)
    activations.retain_grad()
    nn.functional.cross_entropy(model[2](activations), labels).backward()
    assert activations.grad is not None
    expected = (activations * activations.grad).square().sum().item() / 10
    assert fisher(model, images, labels) == pytest.approx(expected)


@pytest.mark.parametrize("relu", RELUS)
def test_a_relu_is_seen_in_whatever_way_it_is_called(relu: object) -> None:
    data = small_batch()
    for proxy in (lambda model: naswot(model, data.images_NCHW), lambda model: fisher(model, *data)):
        assert proxy(Functional(relu)) == pytest.approx(proxy(convolutional()))
    assert loss_of(Functional(relu), data).item() == pytest.approx(loss_of(convolutional(), data).item())
