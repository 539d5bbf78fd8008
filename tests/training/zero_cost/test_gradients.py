from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from seqconv import build
from tests.training.zero_cost.examples import CLASSES, TINY, batch, convolutional, loss_of, small_batch
from training.zero_cost.gradients import grad_norm, grasp, snip, zico
from training.zero_cost.preparation import he_normal, weights
from training.zero_cost.scoring import Batch

STEP = 1e-6


def gradients_by_differences(model: nn.Module, data: Batch) -> list[np.ndarray]:
    """dL/dw of every weight tensor, one weight after another."""
    found = []
    for weight in weights(model):
        gradient = np.zeros(weight.numel())
        flat = weight.data.view(-1)
        for i in range(len(flat)):
            kept = flat[i].item()
            losses = []
            for value in (kept + STEP, kept - STEP):
                flat[i] = value
                losses.append(loss_of(model, data).item())
            flat[i] = kept
            gradient[i] = (losses[0] - losses[1]) / (2 * STEP)
        found.append(gradient)
    return found


def test_grad_norm_is_the_sum_of_the_norms_of_each_tensors_gradient() -> None:
    model, data = convolutional(), small_batch()
    expected = sum(np.linalg.norm(gradient) for gradient in gradients_by_differences(model, data))
    assert grad_norm(model, *data) == pytest.approx(expected, rel=1e-6)


def test_snip_is_how_the_loss_changes_with_a_mask_on_the_weights() -> None:
    model, data = convolutional(), small_batch()
    expected = 0.0
    for weight in weights(model):
        flat = weight.data.view(-1)
        for i in range(len(flat)):
            kept, losses = flat[i].item(), []
            for mask in (1 + STEP, 1 - STEP):
                flat[i] = mask * kept
                losses.append(loss_of(model, data).item())
            flat[i] = kept
            expected += abs(losses[0] - losses[1]) / (2 * STEP)
    assert snip(model, *data) == pytest.approx(expected, rel=1e-6)


def test_snip_of_a_single_weight_by_hand() -> None:
    # Two classes with logits (w x, 0): L = log(1 + exp(-w x)) for class 0, dL/dw = -x / (1 + exp(w x)).
    model = nn.Linear(1, 2, bias=False)
    model.weight.data = torch.tensor([[2.0], [0.0]])
    x = torch.tensor([[0.5], [0.5]])
    expected = 2.0 * 0.5 / (1 + math.exp(2.0 * 0.5))
    assert snip(model, x, torch.tensor([0, 0])) == pytest.approx(expected)


@pytest.mark.parametrize("norm", [True, False])
def test_grasp_is_minus_the_weights_times_the_hessian_times_the_gradient(norm: bool) -> None:
    model, data = convolutional(norm=norm), small_batch()
    names = [name for name, parameter in model.named_parameters() if parameter.dim() > 1]
    sizes = [parameter.shape for parameter in weights(model)]
    point = torch.cat([parameter.detach().flatten() for parameter in weights(model)])

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([size.numel() for size in sizes])
        given = {name: part.view(size) for name, part, size in zip(names, parts, sizes, strict=True)}
        return nn.functional.cross_entropy(functional_call(model, given, (data.images_NCHW,)), data.labels)

    hessian = torch.autograd.functional.hessian(loss, point)
    gradient = torch.autograd.functional.jacobian(loss, point)
    expected = -(point @ hessian @ gradient).item()
    assert abs(expected) > 1e-6
    assert grasp(model, *data) == pytest.approx(expected, rel=1e-8)


def test_zico_is_mean_over_deviation_between_the_halves() -> None:
    model, (images, labels) = convolutional(norm=False), small_batch(6)
    halves = [Batch(images[:3], labels[:3]), Batch(images[3:], labels[3:])]
    by_half = [gradients_by_differences(model, half) for half in halves]
    expected = 0.0
    for first, second in zip(*by_half, strict=True):
        absolute = np.abs([first, second])
        expected += math.log(sum(absolute.mean(0) / absolute.std(0)))
    assert zico(model, images, labels) == pytest.approx(expected, rel=1e-3)


def test_zico_leaves_out_weights_whose_gradients_do_not_differ() -> None:
    model, (images, labels) = convolutional(norm=False), small_batch(3)
    assert zico(model, images.repeat(2, 1, 1, 1), labels.repeat(2)) == 0


def test_every_weight_of_a_network_counts() -> None:
    """Its own initialisation has zeros in the last layer of each block, which hide what is before them."""
    data = batch()
    asleep, awake = (build(TINY, classes=CLASSES) for _ in range(2))
    he_normal(awake)
    loss_of(asleep, data).backward()
    loss_of(awake, data).backward()
    assert not all(weight.grad.any() for weight in weights(asleep))
    assert all(weight.grad.any() and weight.data.all() for weight in weights(awake))
