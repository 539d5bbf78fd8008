from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.training.full.small import EVERYTHING, RECIPE, SPEC, WithoutNorm, data, image_data
from training.full import trainer as trainer_module
from training.full.in_memory import InMemory
from training.full.metrics import FullMetrics
from training.full.recipe import Recipe
from training.full.trainer import FullTrainer
from training.trainer import Diverged

CPU = torch.device("cpu")


def make(recipe: Recipe = RECIPE, *, spec: Any = SPEC, images: InMemory | None = None, seed: int = 0) -> FullTrainer:
    return FullTrainer(spec, images or data(), recipe, seed=seed, place=CPU, rank=0, world=1)


def nothing() -> None:
    pass


def epoch(trainer: FullTrainer, number: int = 1) -> FullMetrics:
    progress = trainer.begin(number)
    with torch.random.fork_rng():
        trainer.train(progress, nothing)
        return trainer.test(progress, nothing)[0]


def weights(trainer: FullTrainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_micro_batches_give_the_step_of_one_batch() -> None:
    recipe = replace(RECIPE, weight_decay=0.01, label_smoothing=0.1)
    whole, parts = (make(replace(recipe, accumulate=n), spec=WithoutNorm()) for n in (1, 4))
    metrics = [[epoch(trainer, number) for number in (1, 2)] for trainer in (whole, parts)]
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-4, atol=1e-5)
    for one, other in zip(*metrics, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.train_error == other.train_error
        assert one.learning_rate == other.learning_rate


def test_a_step_is_that_of_torch() -> None:
    recipe = replace(RECIPE, augment="none", batch_size=64, nesterov=False, weight_decay=0.1, warmup_epochs=0)
    trainer = make(recipe, spec=WithoutNorm(), images=data(64))
    before = weights(trainer)
    images, labels = next(trainer.batches.train(1))
    parameters = {name: value.clone().requires_grad_() for name, value in before.items()}
    F.cross_entropy(torch.func.functional_call(trainer.model, parameters, (images,)), labels).backward()
    metrics = epoch(trainer)
    for name, value in weights(trainer).items():
        gradient = parameters[name].grad
        assert gradient is not None
        expected = before[name] - metrics.learning_rate * (gradient + 0.1 * before[name])
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 8},
        {"accumulate": 2},
        {"learning_rate": 0.2},
        {"momentum": 0.5},
        {"nesterov": False},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decay_norms": False},
        {"schedule": "cosine"},
        {"schedule": "step", "milestones": (0.1,)},
        {"schedule": "step", "milestones": (0.1,), "gamma": 0.5},
        {"warmup_epochs": 2.0},
        {"label_smoothing": 0.2},
        {"mixup": 1.0},
        {"cutmix": 1.0},
        {"augment": "none"},
        {"augment": "crop"},
        {"dropout": 0.3},
        {"precision": "bfloat16"},
    ],
)
def test_every_field_of_the_recipe_changes_training(changes: dict[str, Any]) -> None:
    like = {
        key: value
        for key, value in {"weight_decay": 0.1, "schedule": "step", "milestones": (0.1,)}.items()
        if key in changes and len(changes) > 1
    }
    if list(changes) == ["schedule", "milestones"]:
        like = {"schedule": "step"}
    losses = []
    for fields in (changes, like):
        trainer = make(replace(RECIPE, **fields))
        epoch(trainer)
        losses.append(epoch(trainer, 2).train_loss)
    assert math.isfinite(losses[0])
    assert losses[0] != losses[1]


@pytest.mark.parametrize("changes", [{"channels_last": False}, {"recompute": True}])
def test_what_saves_time_or_memory_does_not_change_what_is_computed(changes: dict[str, Any]) -> None:
    losses = [epoch(make(replace(RECIPE, **fields))).train_loss for fields in ({}, changes)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_training_alone_goes_through_the_compiler_where_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []

    def compiler(model: nn.Module) -> Any:
        return lambda images: calls.append(model.training) or model(images)

    monkeypatch.setattr(torch, "compile", compiler)
    found = epoch(make(replace(RECIPE, compile=True)))
    assert calls == [True] * 4
    assert found.train_loss == epoch(make()).train_loss
    assert calls == [True] * 4


@pytest.mark.slow
def test_the_compiler_takes_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a machine without a C compiler can tell: its first stage."""
    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compiler(model, backend="eager"))
    trainer = make(replace(RECIPE, compile=True))
    assert epoch(trainer).train_loss == pytest.approx(epoch(make()).train_loss, rel=1e-4)
    assert trainer.state(trainer.begin(2))["model"].keys() == make().model.state_dict().keys()


def test_metrics_are_those_of_the_network_that_is_kept() -> None:
    for recipe in (RECIPE, EVERYTHING, replace(EVERYTHING, norm_batches=2)):
        trainer = make(recipe)
        progress = trainer.begin(1)
        with torch.random.fork_rng():
            trainer.train(progress, nothing)
            metrics, network = trainer.test(progress, nothing)
        images, labels = next(trainer.batches.test())
        with torch.inference_mode():
            logits = network(images)
        error = (logits.argmax(1) != labels).float().mean().item()
        if recipe is RECIPE:
            assert network is trainer.model
            assert metrics.ema_error is None
            assert metrics.test_loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
        assert error == pytest.approx(metrics.test_error if metrics.ema_error is None else metrics.ema_error)


def test_metrics_of_training_are_means_over_its_images() -> None:
    trainer = make(replace(RECIPE, learning_rate=1e-12, augment="none", accumulate=2), spec=WithoutNorm())
    images, labels = (torch.cat(part) for part in zip(*trainer.batches.train(1), strict=True))
    logits = trainer.model(images)
    metrics = epoch(trainer)
    assert metrics.train_loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert metrics.train_error == pytest.approx((logits.argmax(1) != labels).float().mean().item())
    assert metrics.seconds > 0 < metrics.images_per_second
    assert 0 < metrics.data_share < 1
    assert (metrics.epoch, metrics.skipped) == (1, 0)


def test_the_learning_rate_is_that_of_the_last_step() -> None:
    trainer = make(replace(RECIPE, epochs=4, warmup_epochs=0.0, accumulate=2))
    rates = [epoch(trainer, number).learning_rate for number in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.1 * (1 - (4 * number - 0.5) / 16) for number in (1, 2, 3, 4)])
    assert trainer.optimizer.param_groups[0]["lr"] == rates[-1]


def test_the_average_counts_the_steps_of_all_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(EVERYTHING)
    assert trainer.average is not None
    steps: list[int] = []
    monkeypatch.setattr(trainer.average, "update", steps.append)
    for number in (1, 2):
        epoch(trainer, number)
    assert steps == list(range(8))


class Drawing(nn.Module):
    """Logits that do not depend on the images; keeps a random number of each forward pass in training."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))
        self.drawn: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.drawn.append(torch.rand(()).item())
        return self.bias.expand(len(images), 3)


class DrawingSpec:
    def build(self, classes: int, recipe: Recipe) -> nn.Module:
        return Drawing()


def test_every_micro_batch_has_random_numbers_of_its_own_that_depend_on_its_place_alone() -> None:
    recipe = replace(RECIPE, accumulate=2)
    whole, part = (make(recipe, spec=DrawingSpec()) for _ in range(2))
    for number in (1, 2):
        epoch(whole, number)
    assert len(whole.model.drawn) == len(set(whole.model.drawn)) == 16
    progress = part.begin(2)
    progress.position = 4
    with torch.random.fork_rng():
        part.train(progress, nothing)
    assert part.model.drawn == whole.model.drawn[12:]
    other = make(recipe, spec=DrawingSpec(), seed=1)
    epoch(other)
    assert not set(other.model.drawn) & set(whole.model.drawn)


def test_the_share_of_waiting_for_images_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(10_000.0))
    monkeypatch.setattr(trainer_module.time, "perf_counter", lambda: next(clock))
    metrics = epoch(make())
    assert metrics.data_share == pytest.approx(1 / 3)  # two looks at the clock around a step, two around its images


def test_norms_are_measured_on_a_copy() -> None:
    measured, running = make(replace(RECIPE, norm_batches=2)), make()
    for number in (1, 2):
        first, second = epoch(measured, number), epoch(running, number)
        assert first.train_loss == second.train_loss
        assert first.test_loss != second.test_loss
    assert all(torch.equal(value, weights(running)[name]) for name, value in weights(measured).items())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"resolution": 16}, 16),
        ({"resolution": 16, "evaluation_resolution": 24}, 24),
        ({"evaluation_resolution": 24}, 24),
    ],
)
def test_the_test_images_are_tested_at_the_resolution_of_the_recipe(
    changes: dict[str, Any], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make()
    trainer.recipe = replace(RECIPE, **changes)  # images in memory would refuse it
    asked: list[int | None] = []
    test = trainer.batches.test
    monkeypatch.setattr(trainer.batches, "test", lambda side: asked.append(side) or test())
    epoch(trainer)
    assert asked == [expected]


def test_divergence_says_where_and_at_which_learning_rate() -> None:
    message = (
        r"training loss is (nan|inf) at step 4 of 4 in epoch 1 at learning rate \S+e\+29; lower recipe\.learning_rate"
    )
    with pytest.raises(Diverged, match=message):
        epoch(make(replace(RECIPE, learning_rate=1e30, warmup_epochs=0.0)))


def test_divergence_is_seen_before_the_epoch_ends() -> None:
    with pytest.raises(Diverged, match="at step 50 of 60 in epoch 1"):
        epoch(make(replace(RECIPE, learning_rate=1e30, warmup_epochs=0.0, batch_size=2), images=data(120)))


def test_divergence_in_the_test_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "evaluate", lambda *_, **__: (float("nan"), 0.9))
    with pytest.raises(Diverged, match=r"test loss is nan after epoch 1 at learning rate \S+; lower recipe\.learning"):
        epoch(make())


def test_what_is_set_back_goes_on_as_before() -> None:
    first, second = make(EVERYTHING), make(EVERYTHING, seed=0)
    epoch(first)
    state = pickle.loads(pickle.dumps(first.state(first.begin(2))))
    progress = second.resume(state)
    assert (progress.epoch, progress.position) == (2, 0)
    assert epoch(first, 2).train_loss == epoch(second, 2).train_loss
    assert all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


def test_labels_of_mixed_images_count_by_the_larger_share() -> None:
    source = image_data(64)
    trainer = make(replace(RECIPE, mixup=0.01, learning_rate=1e-12), spec=WithoutNorm(), images=InMemory(data=source))
    plain = make(replace(RECIPE, learning_rate=1e-12), spec=WithoutNorm(), images=InMemory(data=source))
    assert epoch(trainer).train_error == pytest.approx(epoch(plain).train_error, abs=0.05)
