from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import seqconv
from tests.training.tiny import TINY
from training.full import optimization
from training.full.recipe import Recipe


def rates(steps: int, **changes: Any) -> list[float]:
    recipe = Recipe(**changes)
    return [optimization.learning_rate(recipe, step, steps=steps) for step in range(steps)]


def test_step_falls_at_the_milestones() -> None:
    assert rates(8, epochs=4) == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)
    expected = [1.0] * 3 + [0.5] * 3 + [0.25] * 3 + [0.125]
    assert rates(10, milestones=(0.3, 0.6, 0.9), gamma=0.5, learning_rate=1) == expected


@pytest.mark.parametrize("steps", [10, 100, 300, 12510])
def test_step_falls_after_whole_epochs_whatever_the_rounding(steps: int) -> None:
    found = rates(steps, milestones=(0.3, 0.6, 0.9), epochs=100)
    falls = [step for step in range(1, steps) if found[step] < found[step - 1]]
    assert falls == [steps * tenths // 10 for tenths in (3, 6, 9)]


def test_step_may_warm_up() -> None:
    found = rates(8, epochs=4, warmup_epochs=2, learning_rate=1, milestones=(0.5,))
    assert found == pytest.approx([0.125, 0.375, 0.625, 0.875, 0.1, 0.1, 0.1, 0.1])


def test_one_cycle_rises_and_falls_in_straight_lines() -> None:
    found = rates(8, epochs=4, warmup_epochs=1, learning_rate=0.6, schedule="one_cycle")
    assert found == pytest.approx([0.15, 0.45, 0.55, 0.45, 0.35, 0.25, 0.15, 0.05])


def test_cosine_falls_along_half_a_cosine() -> None:
    found = rates(4, epochs=2, schedule="cosine", learning_rate=2)
    assert found == pytest.approx([1.923879533, 1.382683432, 0.617316568, 0.076120467])
    warm = rates(6, epochs=3, warmup_epochs=1, schedule="cosine", learning_rate=2)
    assert warm == pytest.approx([0.5, 1.5, *found])


@given(
    schedule=st.sampled_from(["step", "cosine", "one_cycle"]),
    epochs=st.integers(1, 20),
    warmup=st.floats(0, 1),
    steps=st.integers(1, 50),
)
def test_a_learning_rate_is_above_zero_and_not_above_its_peak(
    schedule: str, epochs: int, warmup: float, steps: int
) -> None:
    for rate in rates(steps * epochs, epochs=epochs, warmup_epochs=warmup * epochs, schedule=schedule):
        assert 0 < rate <= 0.1 * (1 + 1e-12)


def test_the_recipe_reaches_the_optimizer() -> None:
    recipe = Recipe(learning_rate=0.3, momentum=0.8, nesterov=False, weight_decay=0.01)
    model = seqconv.build(TINY, classes=3)
    (group,) = optimization.optimizer(model, recipe).param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.3, 0.8, False, 0.01)
    assert len(group["params"]) == len(list(model.parameters()))


def test_norms_and_biases_may_be_free_of_decay() -> None:
    model = seqconv.build(TINY, classes=3)
    decayed, free = optimization.optimizer(model, Recipe(decay_norms=False, weight_decay=0.01)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.01, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    norms = {id(p) for module in model.modules() if isinstance(module, nn.BatchNorm2d) for p in module.parameters()}
    biases = {id(p) for name, p in model.named_parameters() if name.endswith("bias")}
    assert {id(p) for p in free["params"]} == norms | biases
    assert {id(p) for p in decayed["params"]} == set(names) - norms - biases


def test_parameters_that_are_frozen_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    for decay_norms in (True, False):
        groups = optimization.parameter_groups(model, Recipe(decay_norms=decay_norms))
        assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model[1].parameters()}


def test_the_average_soon_forgets_the_initial_weights() -> None:
    assert [optimization.ema_decay(0.99, step) for step in (0, 1, 8, 889, 890, 891, 10**6)] == pytest.approx(
        [0.1, 2 / 11, 0.5, 890 / 899, 0.99, 0.99, 0.99]
    )
    assert optimization.ema_decay(0.05, 0) == 0.05


def test_the_average_follows_weights_and_statistics() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    average = optimization.Average(model, 0.5)
    expected = {name: value.double() for name, value in model.state_dict().items()}
    for step in range(20):
        with torch.no_grad():
            model(torch.randn(8, 3))
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    found = average.network().state_dict()
    for name in ("0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var"):
        torch.testing.assert_close(found[name].double(), expected[name], rtol=1e-5, atol=1e-5)
    assert found["1.num_batches_tracked"] == 20


def test_the_average_leaves_the_network_alone() -> None:
    model = seqconv.build(TINY, classes=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    average = optimization.Average(model, 0.9)
    average.update(0)
    for parameter in average.network().parameters():
        parameter.detach().zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_recipe_without_decay_changes_nothing_else() -> None:
    recipe = Recipe(momentum=0.0, nesterov=False, weight_decay=0.0, learning_rate=1.0)
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = optimization.optimizer(model, replace(recipe, decay_norms=False))
    model(torch.tensor([[1.0, 2.0]])).sum().backward()
    optimizer.step()
    torch.testing.assert_close(model.weight, before - torch.tensor([[1.0, 2.0]]))
