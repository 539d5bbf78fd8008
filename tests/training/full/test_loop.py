from __future__ import annotations

import csv
import errno
import gc
import itertools
import os
import signal
import subprocess
import sys
import weakref
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import seqconv
from seqconv import Stage
from tests.training import tiny
from tests.training.full.small import (
    ACTIONS,
    EVERYTHING,
    RECIPE,
    SPEC,
    Breaking,
    Broken,
    assert_same_weights,
    data,
    fail,
    image_data,
    run,
    timeless,
    weights,
)
from training.full.in_memory import InMemoryBatches
from training.full.loop import train_full
from training.full.model import ModelSpec

ROOT = Path(__file__).parents[3]
EACH_STEP = replace(EVERYTHING, checkpoint_every=1e-6)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Folder and metrics of a training with everything on that ran through."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, [timeless(m) for m in run(folder, EVERYTHING)]


def broken(epoch: int, position: int) -> Breaking:
    return Breaking(data=image_data(), epoch=epoch, position=position, action=fail)


def saved(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)
    return content


def test_it_learns(tmp_path: Path) -> None:
    *_, last = run(tmp_path, replace(RECIPE, ema=0.9), data=data(300, 60))
    assert last.test_error <= 0.1
    assert last.ema_error is not None and last.ema_error <= 0.1
    assert last.train_error <= 0.3


def test_files_of_a_finished_training(tmp_path: Path) -> None:
    epochs = list(run(tmp_path, EVERYTHING))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "metrics.csv", "model.safetensors"]
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == [asdict(m) for m in epochs]
    assert (tmp_path / "checkpoint.pt").stat().st_size < 6000 < (tmp_path / "model.safetensors").stat().st_size


def test_files_are_written_before_an_epoch_is_yielded(tmp_path: Path) -> None:
    for metrics in run(tmp_path):
        assert saved(tmp_path)["history"][-1] == asdict(metrics)
        assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + metrics.epoch


@pytest.mark.parametrize(("ema", "norm_batches"), [(0.0, 0), (0.9, 0), (0.9, 2), (0.0, 2)])
def test_the_final_weights_are_those_that_were_tested(ema: float, norm_batches: int, tmp_path: Path) -> None:
    *_, last = run(tmp_path, replace(RECIPE, ema=ema, norm_batches=norm_batches))
    model = seqconv.build(tiny.TINY, classes=3)
    model.load_state_dict(weights(tmp_path))
    batches = data().open(RECIPE, rank=0, world=1, seed=0, device=torch.device("cpu"))
    ((images, labels),) = batches.test()
    with torch.inference_mode():
        error = (model.eval()(images).argmax(1) != labels).float().mean().item()
    assert error == pytest.approx(last.ema_error if ema else last.test_error)


def test_the_same_seed_gives_the_same_metrics(tmp_path: Path, unbroken: tuple[Path, list[dict[str, Any]]]) -> None:
    again = [timeless(m) for m in run(tmp_path / "again", EVERYTHING)]
    other = [timeless(m) for m in run(tmp_path / "other", EVERYTHING, seed=1)]
    assert again == unbroken[1]
    assert other != again
    assert_same_weights(tmp_path / "again", unbroken[0])


def test_the_callers_random_numbers_do_not_matter_and_are_left_alone(
    tmp_path: Path, unbroken: tuple[Path, list[dict[str, Any]]]
) -> None:
    torch.rand(3)
    before = torch.get_rng_state()
    for metrics, expected in zip(run(tmp_path, EVERYTHING), unbroken[1], strict=True):
        assert timeless(metrics) == expected
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_training_that_is_closed_goes_on_after_its_last_epoch(
    tmp_path: Path, unbroken: tuple[Path, list[dict[str, Any]]]
) -> None:
    stopped = run(tmp_path, EVERYTHING)
    first, second = itertools.islice(stopped, 2)
    stopped.close()
    resumed = list(run(tmp_path, EVERYTHING))
    assert resumed[0] == second
    assert [timeless(m) for m in (first, *resumed)] == unbroken[1]
    assert_same_weights(tmp_path, unbroken[0])


@pytest.mark.parametrize(("epoch", "position"), [(1, 1), (1, 5), (2, 0), (2, 3), (2, 7), (3, 6)])
def test_a_training_that_broke_off_in_an_epoch_goes_on_with_the_step_that_broke(
    epoch: int, position: int, tmp_path: Path, unbroken: tuple[Path, list[dict[str, Any]]]
) -> None:
    with pytest.raises(Broken):
        list(run(tmp_path, EACH_STEP, data=broken(epoch, position)))
    if position >= 2:
        progress = saved(tmp_path)["state"]["progress"]
        assert (progress["epoch"], progress["position"]) == (epoch, position // 2 * 2)
        assert progress["images"] == progress["position"] * 8
    resumed = [timeless(m) for m in run(tmp_path, EACH_STEP)]
    assert resumed == unbroken[1][max(epoch - 2, 0) :]
    assert_same_weights(tmp_path, unbroken[0])


def test_steps_that_are_in_the_checkpoint_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Broken):
        list(run(tmp_path, EACH_STEP, data=broken(2, 5)))
    asked: list[tuple[int, int]] = []
    train = InMemoryBatches.train
    monkeypatch.setattr(
        InMemoryBatches,
        "train",
        lambda self, epoch, start=0: asked.append((epoch, start)) or train(self, epoch, start),
    )
    list(run(tmp_path, EACH_STEP))
    assert asked == [(2, 4), (3, 0)]


def test_a_training_that_broke_off_while_testing_goes_on_with_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: tuple[Path, list[dict[str, Any]]]
) -> None:
    with monkeypatch.context() as patched, pytest.raises(Broken):
        patched.setattr(InMemoryBatches, "test", lambda self, resolution: fail())
        list(run(tmp_path, EACH_STEP))
    assert saved(tmp_path)["state"]["progress"]["position"] == 8
    assert [timeless(m) for m in run(tmp_path, EACH_STEP)] == unbroken[1]
    assert_same_weights(tmp_path, unbroken[0])


def test_within_an_epoch_a_checkpoint_comes_when_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 10)
    monkeypatch.setattr("training.full.loop.time.monotonic", lambda: next(clock))
    with pytest.raises(Broken):
        list(run(tmp_path, replace(EVERYTHING, checkpoint_every=30.0), data=broken(1, 7)))
    assert saved(tmp_path)["state"]["progress"]["position"] == 6


def test_a_signal_waits_for_its_step_and_a_checkpoint(
    tmp_path: Path, unbroken: tuple[Path, list[dict[str, Any]]]
) -> None:
    interrupted = Breaking(data=image_data(), epoch=2, position=5, action=ACTIONS["interrupt"])
    with pytest.raises(KeyboardInterrupt):
        list(run(tmp_path, EVERYTHING, data=interrupted))
    progress = saved(tmp_path)["state"]["progress"]
    assert (progress["epoch"], progress["position"]) == (2, 6)
    assert [timeless(m) for m in run(tmp_path, EVERYTHING)] == unbroken[1]
    assert_same_weights(tmp_path, unbroken[0])


@pytest.mark.parametrize("action", ["kill", "terminate"])
def test_a_process_that_is_ended_in_an_epoch_loses_no_step(
    action: str, tmp_path: Path, unbroken: tuple[Path, list[dict[str, Any]]]
) -> None:
    """Only SIGKILL leaves no time for a checkpoint; there, one was written after each step."""
    command = [sys.executable, "-m", "tests.training.full.small", str(tmp_path), action]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == {"kill": -signal.SIGKILL, "terminate": -signal.SIGTERM}[action], ended.stderr
    progress = saved(tmp_path)["state"]["progress"]
    assert (progress["epoch"], progress["position"]) == (2, 4 if action == "kill" else 6)
    assert [timeless(m) for m in run(tmp_path, EVERYTHING)] == unbroken[1]
    assert_same_weights(tmp_path, unbroken[0])


def test_a_signal_while_testing_writes_a_checkpoint_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = InMemoryBatches.test

    def interrupted(self: InMemoryBatches, resolution: int | None = None) -> Any:
        signal.raise_signal(signal.SIGINT)
        return test(self, resolution)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(InMemoryBatches, "test", interrupted)
        list(run(tmp_path))
    assert saved(tmp_path)["state"]["progress"]["position"] == 4


def test_a_finished_training_yields_its_last_epoch_alone(tmp_path: Path) -> None:
    *_, last = run(tmp_path)
    assert list(run(tmp_path)) == [last]


@pytest.mark.parametrize("failing", ["model.safetensors", "checkpoint.pt"])
def test_a_full_disk_leaves_what_was_there(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: tuple[Path, list[dict[str, Any]]]
) -> None:
    training = run(tmp_path, EVERYTHING)
    list(itertools.islice(training, 2))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    replace_file = Path.replace

    def full(self: Path, target: Path) -> Path:
        if failing in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace_file(self, target)

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left on device"):
        patched.setattr(Path, "replace", full)
        next(training)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    assert [timeless(m) for m in run(tmp_path, EVERYTHING)] == unbroken[1][1:]
    assert_same_weights(tmp_path, unbroken[0])


def test_a_damaged_checkpoint_starts_from_scratch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = timeless(next(run(tmp_path)))
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    assert timeless(next(run(tmp_path))) == first
    assert "checkpoint.pt is damaged, training starts from scratch" in caplog.text


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.pt.4711.part").write_bytes(b"half")
    next(run(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "metrics.csv"]


def test_a_checkpoint_holds_what_it_needs(tmp_path: Path) -> None:
    next(run(tmp_path, EVERYTHING))
    content = saved(tmp_path)
    assert content["state"].keys() == {"model", "ema", "optimizer", "progress"}
    assert content["identity"]["architecture"] == tiny.TINY.fingerprint()
    recipe = {k.removeprefix("recipe."): v for k, v in content["identity"].items() if k.startswith("recipe.")}
    assert recipe == {k: v for k, v in asdict(EVERYTHING).items() if k != "checkpoint_every"}


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 3}, "seed is 0 there and 3 here"),
        ({"recipe": replace(RECIPE, epochs=9)}, "recipe.epochs is 3 there and 9 here"),
        ({"recipe": replace(RECIPE, ema=0.9)}, "recipe.ema is 0.0 there and 0.9 here"),
        (
            {"data": data(60)},
            r"data is 'tiny, 70 \+ 30 images of 3 classes \([0-9a-f]{8}\)' there and 'tiny, 60 \+ 30 .*' here",
        ),
        ({"data": data(seed=1)}, r"data.mean is \(.*\) there and \(.*\) here"),
        ({"data": data(class_names=("r", "g", "b"))}, r"data is 'tiny.*' there and 'tiny.*' here"),
        ({"spec": ModelSpec(timm_name="resnet18")}, "architecture is '[0-9a-f]{16}' there and 'timm:resnet18' here"),
        (
            {"spec": ModelSpec(architecture=replace(tiny.TINY, stages=(Stage(blocks=1, group_width=4),)))},
            "architecture is '[0-9a-f]{16}' there and '[0-9a-f]{16}' here",
        ),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(
    tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    next(run(tmp_path))
    with pytest.raises(ValueError, match=f"checkpoint.pt belongs to another trial: {difference}"):
        run(tmp_path, **changes)


def test_how_often_it_is_saved_may_change(tmp_path: Path) -> None:
    first = next(run(tmp_path))
    assert next(run(tmp_path, replace(RECIPE, checkpoint_every=5.0))) == first


def test_a_training_that_is_stopped_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []
    closed: list[int] = []
    build = ModelSpec.build

    def built(self: ModelSpec, *arguments: Any) -> Any:
        model = build(self, *arguments)
        made.append(weakref.ref(model))
        return model

    monkeypatch.setattr(ModelSpec, "build", built)
    monkeypatch.setattr(InMemoryBatches, "close", lambda self: closed.append(1))
    gc.collect()
    gc.disable()
    try:
        training = train_full(SPEC, data(), EVERYTHING, folder=tmp_path, seed=0, device="cpu")
        next(training)
        assert closed == []
        training.close()
        assert [model() for model in made] == [None]
        assert closed == [1]
    finally:
        gc.enable()


def test_threads_are_set(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        next(run(tmp_path / "two", threads=2))
        assert torch.get_num_threads() == 2
        next(run(tmp_path / "one", threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed must be an integer at least 0, got -1"),
        ({"threads": 0}, "threads must be an integer at least 1, got 0"),
        ({"world": 0}, "world must be an integer at least 1, got 0"),
        ({"rank": 1}, "rank must be an integer from 0 to 0, got 1"),
        ({"rank": 1, "world": 2}, r"world 2 needs torch.distributed.init_process_group to be called before"),
        ({"world": 3}, r"recipe.batch_size must be a multiple of 3 \(3 processes x 1 micro-batches\)"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:<number>, got 'gpu'"),
        ({"device": "cuda:99"}, "device cuda:99 is asked for, torch finds [0-9]+ GPUs here: use device auto or cpu"),
    ],
)
def test_a_bad_argument_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "training", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_does_not_fit_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"recipe\.batch_size is 80 and tiny has 70 training images"):
        next(run(tmp_path, replace(RECIPE, batch_size=80)))
