from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.zero_cost.examples import convolutional, small_batch
from training.zero_cost.jacobian import STABILISER, jacob_cov


@pytest.mark.parametrize("norm", [True, False])
def test_the_eigenvalues_of_the_correlation_of_the_jacobians(norm: bool) -> None:
    images, _ = small_batch(5)
    model = convolutional(norm=norm).train()
    of_all = torch.autograd.functional.jacobian(lambda x: model(x).sum(), images)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(of_all.flatten(1).numpy())) + STABILISER
    expected = -np.sum(np.log(eigenvalues) + 1 / eigenvalues)
    assert jacob_cov(model, images) == pytest.approx(expected, rel=1e-6)


def test_images_with_the_same_gradient_rank_below_others() -> None:
    images = torch.randn(3, 4)
    same, different = nn.Linear(4, 2), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    # Eigenvalues 3, 0 and 0, of which only the stabiliser is left.
    eigenvalues = np.array([3, 0, 0]) + STABILISER
    assert jacob_cov(same, images) == pytest.approx(-np.sum(np.log(eigenvalues) + 1 / eigenvalues), rel=1e-4)
    assert jacob_cov(different, images) > jacob_cov(same, images)


def test_an_image_without_a_gradient_is_minus_infinity() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    nn.init.zeros_(model[0].weight)
    assert jacob_cov(model, torch.randn(3, 4)) == -math.inf
