from __future__ import annotations

import csv
import gc
import itertools
import time
import weakref
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqconv
import training.loop
import training.trainer
from seqconv import Stage
from seqconv.networks.presets import PRESETS
from tests.training.fake_nvml import Driver
from tests.training.tiny import CLASSES, CONFIG, TINY, split
from training import checkpoint
from training.loop import EpochMetrics, train
from training.nvml import Gpu
from training.trial import TrialConfig

PARTS = ("build_seconds", "data_seconds", "train_seconds", "evaluate_seconds")


def run(folder: Path | None = None, config: TrialConfig = CONFIG, **changes: Any) -> Any:
    """The generator of a tiny trial."""
    arguments = {"classes": CLASSES, "folder": folder, "seed": 0, "device": "cpu", **changes}
    architecture, data = arguments.pop("architecture", TINY), arguments.pop("data", None)
    return train(architecture, data or split(), config, **arguments)


def timeless(metrics: EpochMetrics) -> dict[str, Any]:
    return {name: value for name, value in asdict(metrics).items() if "second" not in name}


def parts(metrics: EpochMetrics) -> list[Any]:
    """Seconds of build, data, train and evaluate."""
    return [getattr(metrics, name) for name in PARTS]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.pt", weights_only=True)


def assert_same_weights(folder: Path, other: Path) -> None:
    mine, theirs = weights(folder), weights(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_it_learns() -> None:
    *_, last = run(data=split(300, 60), config=replace(CONFIG, dropout=0.0))
    assert last.validation_error <= 0.1
    assert last.train_error <= 0.2
    assert last.validation_loss < 0.5


def test_what_the_gpu_did_is_told_of_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Driver().install(monkeypatch)
    monkeypatch.setattr(training.loop, "gpu", lambda _: Gpu("GPU-1"))
    epochs = list(run(tmp_path))
    assert all(metrics.gpu_utilisation == 0.5 and metrics.gpu_joules > 0 for metrics in epochs)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["gpu_joules"]) for row in rows] == [metrics.gpu_joules for metrics in epochs]


def test_every_epoch_is_measured() -> None:
    epochs = list(run())
    assert [m.epoch for m in epochs] == [1, 2, 3, 4]
    for m in epochs:
        assert 0 <= m.train_error <= 1
        assert m.validation_error * 30 == pytest.approx(round(m.validation_error * 30))
        assert m.seconds > 0 < m.images_per_second
        assert min(parts(m)[1:]) > 0
        assert sum(parts(m)) == pytest.approx(m.seconds)
    assert parts(epochs[0])[0] > 0
    assert [parts(m)[0] for m in epochs[1:]] == [0, 0, 0]


def test_the_time_that_the_caller_takes_between_two_epochs_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now, clock = [0.0], time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + now[0])
    trial = run()
    for _ in range(4):
        now[0] += 1000
        assert next(trial).seconds < 500


def test_a_resumed_run_builds_again(tmp_path: Path) -> None:
    list(itertools.islice(run(tmp_path), 2))
    *_, third, fourth = run(tmp_path)
    assert parts(third)[0] > 0 == parts(fourth)[0]


def test_an_older_checkpoint_that_does_not_have_every_metric_goes_on(tmp_path: Path) -> None:
    unbroken = list(run(tmp_path / "unbroken"))
    list(itertools.islice(run(tmp_path / "broken"), 2))
    file = tmp_path / "broken" / checkpoint.CHECKPOINT_FILE
    saved = torch.load(file, weights_only=True)
    older = [{k: v for k, v in epoch.items() if k not in PARTS} for epoch in saved["history"]]
    torch.save({**saved, "history": older}, file)
    resumed = list(run(tmp_path / "broken"))
    assert [timeless(m) for m in resumed] == [timeless(m) for m in unbroken]
    assert parts(resumed[0]) == [None] * 4
    assert [row["train_seconds"] == "" for row in _rows(tmp_path / "broken")] == [True, True, False, False]
    assert_same_weights(tmp_path / "unbroken", tmp_path / "broken")


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_the_same_seed_gives_the_same_metrics(schedule: str) -> None:
    config = replace(CONFIG, schedule=schedule, epochs=2)
    first, again, other = ([timeless(m) for m in run(config=config, seed=seed)] for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_the_callers_random_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    for _ in run(config=replace(CONFIG, epochs=2)):
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)


def test_metrics_do_not_depend_on_the_callers_random_numbers() -> None:
    first = timeless(next(run()))
    torch.rand(3)
    assert timeless(next(run())) == first


def test_it_evaluates_like_the_exported_model(tmp_path: Path) -> None:
    *_, last = run(tmp_path)
    model = seqconv.build(TINY, classes=CLASSES)
    model.load_state_dict(weights(tmp_path))
    data = split()
    images = (torch.tensor(data.validation_images) / 255 - 0.3) / 0.2
    with torch.inference_mode():
        logits = model.eval()(images)
    labels = torch.tensor(data.validation_labels)
    assert last.validation_error == pytest.approx((logits.argmax(1) != labels).float().mean().item())
    assert last.validation_loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-4)


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = list(run(tmp_path / "unbroken"))
    broken = run(tmp_path / "broken")
    seen = list(itertools.islice(broken, 2))
    broken.close()
    assert not (tmp_path / "broken" / "model.pt").exists()
    resumed = list(run(tmp_path / "broken"))
    assert resumed[:2] == seen
    assert [timeless(m) for m in resumed] == [timeless(m) for m in unbroken]
    assert_same_weights(tmp_path / "unbroken", tmp_path / "broken")


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_run_resumed_before_at_or_after_a_new_level_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, done: int
) -> None:
    config = replace(CONFIG, share={1: 0.4, 3: 1.0}, resolution={1: 4, 2: 6, 3: 8}, width=0.5)
    data = replace(split(), subsets={0.4: np.arange(0, 70, 2)})
    unbroken = list(run(tmp_path / "unbroken", config, data=data))
    list(itertools.islice(run(tmp_path / "broken", config, data=data), done))
    resumed = list(run(tmp_path / "broken", config, data=data))
    assert [timeless(m) for m in resumed] == [timeless(m) for m in unbroken]
    assert_same_weights(tmp_path / "unbroken", tmp_path / "broken")


def test_without_a_checkpoint_of_every_epoch_it_goes_on_from_the_last_one(tmp_path: Path) -> None:
    config = replace(CONFIG, checkpoint_every=2)
    list(run(tmp_path / "unbroken", config))
    list(itertools.islice(run(tmp_path / "broken", config), 3))
    assert len(_rows(tmp_path / "broken")) == 3
    assert [m.epoch for m in run(tmp_path / "broken", config)] == [1, 2, 3, 4]
    assert_same_weights(tmp_path / "unbroken", tmp_path / "broken")


def test_a_finished_trial_yields_its_epochs_and_trains_no_more(tmp_path: Path) -> None:
    epochs = list(run(tmp_path))
    assert list(run(tmp_path)) == epochs
    (tmp_path / "model.pt").unlink()
    assert list(run(tmp_path)) == epochs
    assert not (tmp_path / "model.pt").exists()


def test_files_of_a_finished_trial(tmp_path: Path) -> None:
    epochs = list(run(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "metrics.csv", "model.pt"]
    assert (tmp_path / "checkpoint.pt").stat().st_size < 5000 < (tmp_path / "model.pt").stat().st_size
    rows = [{name: float(value) if value else None for name, value in row.items()} for row in _rows(tmp_path)]
    assert rows == [asdict(metrics) for metrics in epochs]


def test_files_are_written_before_an_epoch_is_yielded(tmp_path: Path) -> None:
    for metrics in run(tmp_path):
        saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert saved["history"][-1] == asdict(metrics)
        assert len(_rows(tmp_path)) == metrics.epoch


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(list(run())) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_starts_from_scratch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = itertools.islice(run(tmp_path), 2)
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    again = next(run(tmp_path))
    assert timeless(again) == timeless(first)
    assert "checkpoint.pt is damaged, training starts from scratch" in caplog.text


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.pt.4711.part").write_bytes(b"half")
    next(run(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "metrics.csv"]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 3}, "seed is 0 there and 3 here"),
        ({"config": replace(CONFIG, epochs=9)}, "trial.epochs is 4 there and 9 here"),
        ({"classes": 5}, "classes is 3 there and 5 here"),
        ({"config": replace(CONFIG, width=0.5)}, "trial.width is None there and 0.5 here"),
        (
            {"config": replace(CONFIG, resolution={1: 4, 2: 8})},
            "trial.resolution is None there and {1: 4, 2: 8} here",
        ),
        ({"data": split(60)}, "data is '70 \\+ 30 images of 8x8, .*' there and '60 \\+ 30 images of 8x8, .*' here"),
        ({"data": split(seed=1)}, "data is '70 \\+ 30 .*' there and '70 \\+ 30"),
        (
            {"architecture": replace(TINY, stages=(Stage(blocks=1, group_width=4),))},
            f"architecture is '{TINY.fingerprint()}' there and '[0-9a-f]{{16}}' here",
        ),
    ],
)
def test_the_checkpoint_of_another_trial_is_refused(tmp_path: Path, changes: dict[str, Any], difference: str) -> None:
    next(run(tmp_path))
    with pytest.raises(ValueError, match=f"checkpoint.pt belongs to another trial: {difference}"):
        run(tmp_path, **changes)


def test_a_trial_that_is_stopped_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker trains many trials: their memory must be free without waiting for the garbage collector."""
    made: list[weakref.ref[Any]] = []
    build = training.trainer.build
    monkeypatch.setattr(
        training.trainer, "build", lambda *a, **k: (model := build(*a, **k), made.append(weakref.ref(model)))[0]
    )
    gc.collect()
    gc.disable()
    try:
        trial = train(TINY, split(), CONFIG, classes=CLASSES, folder=None, seed=0, device="cpu")
        next(trial)
        trial.close()
        assert [model() for model in made] == [None]
    finally:
        gc.enable()


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        next(run(threads=2))
        assert torch.get_num_threads() == 2
        next(run(threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": replace(CONFIG, epochs=None)},
            "trial.epochs is null: give a value, or take the data set's with TrialConfig.resolved",
        ),
        ({"config": replace(CONFIG, augment="auto")}, "trial.augment is auto: give a value"),
        ({"data": split(1)}, "at least 2 training images are needed, got 1: raise trial.share"),
        ({"data": split(validation=0)}, "at least 1 validation images are needed, got 0"),
        ({"config": replace(CONFIG, resolution=9)}, "trial.resolution must be at most 8, the images' own, got 9"),
        (
            {"config": replace(CONFIG, resolution=3), "architecture": PRESETS["cifar_b_small"]},
            "trial.resolution must be at least 4, got 3: the strides of a network of 3 stages shrink images 4 times",
        ),
        ({"config": replace(CONFIG, share={1: 0.5, 2: 1})}, "the split has no subset for trial.share 0.5"),
        (
            {"config": replace(CONFIG, share={1: 0.01, 2: 1}), "data": replace(split(), subsets={0.01: np.arange(1)})},
            "at least 2 training images are needed, got 1: raise trial.share",
        ),
        ({"classes": 2}, "training labels must be from 0 to 1 for 2 classes, got 0 to 2"),
        ({"seed": -1}, "seed must be an integer at least 0, got -1"),
        ({"threads": 0}, "threads must be an integer at least 1, got 0"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:<number>, got 'gpu'"),
        ({"device": "meta"}, "device must be auto, cpu, cuda or cuda:<number>, got 'meta'"),
        ({"device": "cuda:99"}, "device cuda:99 is asked for, torch finds [0-9]+ GPUs here: use device auto or cpu"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_epoch(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**changes)


def test_a_bad_argument_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        run(tmp_path / "trial", seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_holds_what_identifies_the_trial(tmp_path: Path) -> None:
    next(run(tmp_path))
    identity = torch.load(tmp_path / checkpoint.CHECKPOINT_FILE, weights_only=True)["identity"]
    assert identity["architecture"] == TINY.fingerprint()
    recipe = {name.removeprefix("trial."): v for name, v in identity.items() if name.startswith("trial.")}
    assert recipe == asdict(CONFIG)


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


KEEP = (1, 2)


def test_what_goes_on_with_the_same_recipe_ends_alike(tmp_path: Path) -> None:
    """On from the checkpoint of another trial, with the state of its optimizer and where it stood in the schedule."""
    whole = list(run(tmp_path / "0", keep=KEEP))
    for epoch in KEEP:
        rest = list(run(tmp_path / f"from-{epoch}", start=checkpoint.kept(tmp_path / "0", epoch)))
        assert [timeless(metrics) for metrics in rest] == [timeless(metrics) for metrics in whole[epoch:]]
        assert_same_weights(tmp_path / f"from-{epoch}", tmp_path / "0")
    assert len(read_csv(tmp_path / "from-2")) == len(whole) - 2


def test_checkpoints_stay_only_where_that_is_asked_for(tmp_path: Path) -> None:
    list(run(tmp_path / "a", keep=(2,)))
    list(run(tmp_path / "b"))
    assert [path.name for path in sorted(tmp_path.glob("*/checkpoint-*.pt"))] == ["checkpoint-0002.pt"]


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 0.01}, {"momentum": 0.5}, {"momentum": 0.0}, {"weight_decay": 0.1},
                {"label_smoothing": 0.2}, {"dropout": 0.3}], ids=lambda changes: "-".join(changes)
)  # fmt: skip
def test_a_changed_recipe_changes_what_comes_after(changes: dict[str, float], tmp_path: Path) -> None:
    whole = list(run(tmp_path / "0", keep=KEEP))
    start = checkpoint.kept(tmp_path / "0", 1)
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    first, *_, last = run(tmp_path / "1", config, start=start)
    assert first.epoch == 2 and timeless(first) != timeless(whole[1])
    if "learning_rate" in changes:
        assert first.learning_rate / whole[1].learning_rate == pytest.approx(0.01 / CONFIG.learning_rate)
    again = list(run(tmp_path / "2", config, start=start))
    assert timeless(again[-1]) == timeless(last)


def test_a_killed_one_goes_on_with_its_own_checkpoint(tmp_path: Path) -> None:
    list(run(tmp_path / "0", keep=KEEP))
    start, config = checkpoint.kept(tmp_path / "0", 1), replace(CONFIG, learning_rate=0.02)
    unbroken = list(run(tmp_path / "1", config, start=start))
    killed = run(tmp_path / "2", config, start=start)
    next(killed)
    killed.close()
    start.rename(tmp_path / "gone.pt")
    resumed = list(run(tmp_path / "2", config, start=start))
    assert [timeless(metrics) for metrics in resumed] == [timeless(metrics) for metrics in unbroken]
    assert_same_weights(tmp_path / "2", tmp_path / "1")
    with pytest.raises(ValueError, match=r"start is '0/checkpoint-0001\.pt' there and None here"):
        run(tmp_path / "2", config)


def test_a_start_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    list(run(tmp_path / "0", keep=KEEP))
    start = checkpoint.kept(tmp_path / "0", 1)
    with pytest.raises(ValueError) as error:
        run(tmp_path / "1", start=checkpoint.kept(tmp_path / "0", 3))
    assert str(error.value) == f"{tmp_path}/0/checkpoint-0003.pt is not there, and this trial goes on from it"
    with pytest.raises(ValueError, match=r"checkpoint-0001\.pt belongs to another trial: trial\.batch_size is"):
        run(tmp_path / "1", replace(CONFIG, batch_size=CONFIG.batch_size + 1), start=start)
    with pytest.raises(ValueError, match=r"belongs to another trial: architecture is"):
        run(tmp_path / "1", architecture=replace(TINY, widening=2), start=start)
    start.write_bytes(start.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"checkpoint-0001\.pt is damaged, and this trial goes on from it: "):
        run(tmp_path / "1", start=start)


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))
