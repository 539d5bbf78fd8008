from __future__ import annotations

import math
import pickle
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.tiny import CLASSES, CONFIG, TINY, split
from training import trainer as trainer_module
from training.data import Split
from training.resize import resized
from training.trainer import Diverged, EpochMetrics, Trainer
from training.trial import TrialConfig

CPU = torch.device("cpu")


def make(data: Split | None = None, **changes: Any) -> Trainer:
    """A tiny trial with some fields of the recipe changed."""
    config = replace(CONFIG, **changes)
    return Trainer(TINY, data or split(), config, epochs=4, classes=CLASSES, seed=0, place=CPU)


def first_epoch(data: Split | None = None, **changes: Any) -> EpochMetrics:
    return make(data, **changes).epoch(1)


def images_of(trainer: Trainer, epoch: int = 1) -> Tensor:
    return torch.cat([images for images, _ in trainer.batches(epoch)])


@pytest.mark.parametrize(("images", "steps"), [(70, 4), (64, 4), (16, 1), (10, 1), (2, 1), (17, 1)])
def test_only_whole_batches_are_trained_on_unless_there_is_but_one(images: int, steps: int) -> None:
    trainer = make(split(images))
    batches = list(trainer.batches(1))
    assert len(batches) == steps == trainer.steps
    assert {len(labels) for _, labels in batches} == {min(images, 16)}


def test_every_epoch_has_another_order_and_sees_no_image_twice() -> None:
    trainer = make(split(64), augment="none")
    first, second = images_of(trainer, 1), images_of(trainer, 2)
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert len(epoch.flatten(1).unique(dim=0)) == 64


def test_batches_are_normalised_images_with_their_labels() -> None:
    data = split(64)
    pixels = data.train_images.astype(np.float64)
    known = {((x / 255 - 0.3) / 0.2).round(3).tobytes(): y for x, y in zip(pixels, data.train_labels, strict=True)}
    for images, labels in make(data, augment="none").batches(1):
        for image, label in zip(images, labels, strict=True):
            assert known[image.numpy().astype(np.float64).round(3).tobytes()] == label


def test_the_padding_is_an_eighth_of_the_side() -> None:
    images = images_of(make(augment="crop"))
    black = torch.isclose(images, torch.tensor((0 - 0.3) / 0.2)).all(dim=1)
    rows = black.all(dim=2)  # whole rows of padding
    assert rows[:, 0].any() and rows[:, 7].any()
    assert not rows[:, [1, 6]].any()


def test_without_flip_no_image_is_mirrored() -> None:
    data = split(64)
    middle = np.broadcast_to(np.arange(8, dtype=np.uint8) * 30, data.train_images.shape)
    data = replace(data, train_images=middle)
    rising = images_of(make(data, augment="crop"))[..., 1:7].diff(dim=-1) >= 0
    assert rising.all()
    mirrored = images_of(make(data, augment="crop_flip"))[..., 4, 1:7].diff(dim=-1) < 0
    assert 0.25 < mirrored.all(dim=-1).float().mean() < 0.75


def test_the_recipe_reaches_the_optimizer() -> None:
    trainer = make(learning_rate=0.3, momentum=0.8, weight_decay=0.01)
    (group,) = trainer.optimizer.param_groups
    assert (group["initial_lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.3, 0.8, 0.01, True)
    assert len(group["params"]) == len(list(trainer.model.parameters()))


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 8},
        {"learning_rate": 0.2},
        {"momentum": 0},
        {"weight_decay": 0.1},
        {"label_smoothing": 0.2},
        {"schedule": "cosine", "warmup": 0.0},
        {"warmup": 0.5},
        {"dropout": 0.3},
        {"augment": "none"},
        {"augment": "crop"},
        {"resolution": 6},
        {"width": 0.5},
        {"precision": "bfloat16"},
    ],
)
def test_every_field_of_the_recipe_changes_training(changes: dict[str, Any]) -> None:
    loss = first_epoch(**changes).train_loss
    assert math.isfinite(loss)
    assert loss != first_epoch(**({"warmup": 0.0} if "schedule" in changes else {})).train_loss


def test_the_layout_does_not_change_what_is_computed() -> None:
    losses = [first_epoch(channels_last=value).train_loss for value in (True, False)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False)])
def test_layout_on_a_cpu(value: bool, expected: bool) -> None:
    images, _ = next(make(channels_last=value).batches(1))
    assert images.is_contiguous(memory_format=torch.channels_last if expected else torch.contiguous_format)


def test_bfloat16_is_close_to_float32() -> None:
    exact, rounded = (first_epoch(precision=p).train_loss for p in ("float32", "bfloat16"))
    assert exact == pytest.approx(rounded, rel=0.1)


def test_the_learning_rate_is_that_of_the_last_step() -> None:
    trainer = make(warmup=0.0)
    rates = [trainer.epoch(epoch).learning_rate for epoch in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.1 * (1 - (4 * epoch - 0.5) / 16) for epoch in (1, 2, 3, 4)])


def test_it_evaluates_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = first_epoch()
    monkeypatch.setattr(trainer_module, "EVALUATION_BATCH", {"cpu": 7})
    parts = first_epoch()
    assert parts.validation_error == whole.validation_error
    assert parts.validation_loss == pytest.approx(whole.validation_loss, rel=1e-5)


@pytest.mark.parametrize(
    ("slow", "part"),
    [
        ("load_state", "build_seconds"),
        ("_normalised", "data_seconds"),
        ("_autocast", "train_seconds"),
        ("_measure_norms", "evaluate_seconds"),
        ("_evaluate", "evaluate_seconds"),
    ],
)
def test_time_counts_for_the_part_in_which_it_passes(monkeypatch: pytest.MonkeyPatch, slow: str, part: str) -> None:
    """On a clock on which a look at it takes a microsecond, and one method a second."""
    method, now = getattr(Trainer, slow), [0.0]

    def look() -> float:
        now[0] += 1e-6
        return now[0]

    def slowed(trainer: Trainer, *arguments: Any) -> Any:
        now[0] += trainer.model.training or part == "evaluate_seconds"
        return method(trainer, *arguments)

    monkeypatch.setattr(Trainer, slow, slowed)
    monkeypatch.setattr(time, "perf_counter", look)
    trainer = make(batch_size=70)
    trainer.load_state(trainer.state())
    metrics = asdict(trainer.epoch(1))
    seconds = {name: metrics[name] for name in metrics if name.endswith("_seconds")}
    assert {name: round(value, 2) for name, value in seconds.items()} == {**dict.fromkeys(seconds, 0.0), part: 1.0}
    assert metrics["seconds"] == pytest.approx(sum(seconds.values()))


def test_batch_norm_is_measured_on_training_images_before_validation() -> None:
    data = split(32)
    trainer = make(data, norm_batches=1000, augment="none")
    trainer.epoch(1)
    stem = trainer.model.stem
    images = (torch.tensor(data.train_images) / 255 - 0.3) / 0.2
    batches = [stem.conv(images[chosen]) for chosen in trainer.norm_batches]
    assert sorted(torch.cat(trainer.norm_batches).tolist()) == list(range(32))
    mean, variance = (torch.stack(values).mean(0) for values in zip(*map(_statistics, batches), strict=True))
    torch.testing.assert_close(stem.norm.running_mean, mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(stem.norm.running_var, variance, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "asked", "sizes"), [(70, 3, [16] * 3), (70, 9, [16] * 4), (10, 4, [10]), (70, 0, [])]
)
def test_batch_norm_is_measured_on_whole_batches(images: int, asked: int, sizes: list[int]) -> None:
    trainer = make(split(images), norm_batches=asked)
    assert [len(chosen) for chosen in trainer.norm_batches] == sizes
    assert math.isfinite(trainer.epoch(1).validation_loss)


def test_measuring_batch_norm_leaves_training_as_it_was() -> None:
    measured, running = make(norm_batches=2), make(norm_batches=0)
    for epoch in (1, 2):
        first, second = measured.epoch(epoch), running.epoch(epoch)
        assert first.train_loss == second.train_loss
        assert first.validation_loss != second.validation_loss
    assert {norm.momentum for norm in measured.norms} == {0.1}


def test_batch_norm_is_measured_on_images_of_all_classes() -> None:
    data = split(300)
    order = np.argsort(data.train_labels, kind="stable")
    data = replace(data, train_images=data.train_images[order], train_labels=data.train_labels[order])
    trainer = make(data, norm_batches=4)
    assert trainer.labels[torch.cat(trainer.norm_batches)].bincount().min() > 10


GROWING = {"share": {1: 0.5, 3: 1.0}, "resolution": {1: 4, 2: 6, 4: 8}}


def growing(**changes: Any) -> Trainer:
    """Of 70 images every second one, then all; of 4, 6, 6 and 8 pixels."""
    return make(replace(split(70), subsets={0.5: np.arange(0, 70, 2)}), **{**GROWING, **changes})


def test_each_epoch_has_the_images_of_its_level() -> None:
    trainer, data = growing(augment="none", norm_batches=9), split(70)
    for epoch, (images, side) in enumerate([(35, 4), (35, 6), (70, 6), (70, 8)], start=1):
        metrics = trainer.epoch(epoch)
        chosen = slice(None, None, 2 if images == 35 else 1)
        expected = resized(data.train_images[chosen], side).transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(trainer.images.numpy(), expected)
        assert trainer.labels.tolist() == data.train_labels[chosen].tolist()
        assert trainer.validation[0].shape == (30, side, side, 3)
        assert trainer.steps == len(trainer.norm_batches) == len(list(trainer.batches(epoch))) == images // 16
        assert metrics.images_per_second * (metrics.data_seconds + metrics.train_seconds) == pytest.approx(
            images // 16 * 16
        )


def test_the_learning_rate_counts_the_steps_of_every_level() -> None:
    trainer = growing(warmup=0.0)
    rates = [trainer.epoch(epoch).learning_rate for epoch in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.1 * (1 - (done - 0.5) / 12) for done in (2, 4, 8, 12)])


def test_only_an_epoch_with_other_images_builds() -> None:
    trainer = growing(share=None)
    assert [trainer.epoch(epoch).build_seconds == 0 for epoch in (1, 2, 3, 4)] == [False, False, True, False]


def test_statistics_for_normalising_stay_those_of_all_images() -> None:
    trainer = growing()
    before = trainer.mean.tolist(), trainer.std.tolist()
    trainer.epoch(4)
    assert (trainer.mean.tolist(), trainer.std.tolist()) == before == (make().mean.tolist(), make().std.tolist())


def test_a_narrow_network_is_trained() -> None:
    trainer = make(width=0.5)
    assert trainer.model.classifier.in_features == TINY.widths[-1] // 2
    assert make(width=1).model.state_dict().keys() == make().model.state_dict().keys()
    assert math.isfinite(trainer.epoch(1).validation_loss)


def test_divergence_says_where_and_at_which_learning_rate() -> None:
    message = (
        r"training loss is (nan|inf) at step 4 of 4 in epoch 1 at learning rate \S+e\+29; lower trial\.learning_rate"
    )
    with pytest.raises(Diverged, match=message):
        first_epoch(learning_rate=1e30, warmup=0)


def test_divergence_is_seen_before_the_epoch_ends() -> None:
    with pytest.raises(Diverged, match="at step 50 of 60 in epoch 1"):
        first_epoch(split(120), learning_rate=1e30, batch_size=2)


def test_divergence_in_validation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "_evaluate", lambda trainer: (float("inf"), 0.9))
    with pytest.raises(Diverged, match=r"validation loss is inf after epoch 1 at learning rate \S+; lower trial\."):
        first_epoch()


def test_divergence_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Diverged("training loss is nan")))
    assert isinstance(error, Diverged)
    assert str(error) == "training loss is nan"


def test_a_recipe_is_plain_data_on_its_way_between_processes() -> None:
    assert pickle.loads(pickle.dumps(CONFIG)) == CONFIG != TrialConfig()


def _statistics(raw_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    return raw_NCHW.mean((0, 2, 3)), raw_NCHW.var((0, 2, 3))
