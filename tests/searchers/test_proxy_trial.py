from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from searchers import proxy_trial, run_folder
from searchers.objectives import MEASURED
from searchers.proxy_trial import Learned, Measured, train_proxy
from seqconv import Architecture, Stage
from tests.training import tiny
from tests.training.fake_nvml import Driver
from tests.training.tiny import CLASSES, TINY, split
from training import energy
from training.loop import EpochMetrics
from training.nvml import Gpu
from training.trainer import Diverged

CONFIG = replace(tiny.CONFIG, epochs=2)
SETTINGS: dict[str, Any] = {
    "split": split(), "config": CONFIG, "classes": CLASSES, "seed": 0, "device": "cpu", "threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_trial, "LATENCY_TIME", 0.01)


def trial(run: Path, **changes: Any) -> Any:
    """The generator of trial 7."""
    return train_proxy(7, TINY, folder=run, **{**SETTINGS, **changes})


def timeless(metrics: EpochMetrics) -> dict[str, Any]:
    return {name: value for name, value in asdict(metrics).items() if "second" not in name}


def test_a_trial_is_trained_in_its_own_folder_with_its_log(tmp_path: Path) -> None:
    *before, _, last = trial(tmp_path)
    epochs = [*before, last]
    assert [metrics.epoch for metrics in epochs] == [1, 2]
    target = run_folder.trial_folder(tmp_path, 7)
    assert {path.name for path in target.iterdir()} == {"log.txt", "metrics.csv", "model.pt", "checkpoint.pt"}
    logged = re.findall(r" INFO (.*)", (target / "log.txt").read_text())
    assert logged == [f"epoch {m.epoch}: validation error {m.validation_error:.4f}" for m in epochs]


def test_a_member_of_a_population_goes_on_from_another_with_its_own_recipe(tmp_path: Path) -> None:
    parent = list(trial(tmp_path, recipe={"learning_rate": 0.05}, keep=(1,)))
    child = train_proxy(
        9, TINY, folder=tmp_path, recipe={"learning_rate": 0.02, "dropout": 0.1}, parent=(7, 1), **SETTINGS
    )
    learned, metrics = child
    assert isinstance(learned, Learned) and metrics.epoch == 2
    assert metrics.learning_rate / parent[-1].learning_rate == pytest.approx(0.02 / 0.05)
    logs = [(run_folder.trial_folder(tmp_path, number) / "log.txt").read_text() for number in (7, 9)]
    assert " INFO recipe: learning_rate 0.05\n" in logs[0]
    assert " INFO recipe: learning_rate 0.02, dropout 0.1; from trial 7 after epoch 1\n" in logs[1]


def test_the_log_says_what_a_narrow_network_is(tmp_path: Path) -> None:
    next(trial(tmp_path, config=replace(CONFIG, width=0.5)))
    first, *_ = (run_folder.trial_folder(tmp_path, 7) / "log.txt").read_text().splitlines()
    assert TINY.describe() == "W1 1x2g8 w=1.0G plain"
    assert first.endswith(" INFO narrowed to W0.5 1x2g4 w=1.0G plain")


def test_what_is_asked_for_is_measured_before_the_training_and_does_not_change_it(tmp_path: Path) -> None:
    measured, *epochs = trial(tmp_path / "measured", measured=["latency"])
    assert type(measured) is Measured and 0 < measured.latency < 1000
    log = (run_folder.trial_folder(tmp_path / "measured", 7) / "log.txt").read_text()
    assert f" INFO latency: {measured.latency:.3f} ms\n" in log.splitlines(keepends=True)[0]
    assert list(map(timeless, epochs)) == list(map(timeless, trial(tmp_path / "not")))


def test_the_latency_is_of_one_image_of_the_trial_on_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = proxy_trial.measure_latency

    def measure(model: Any, resolution: int, batch_sizes: list[int], **settings: Any) -> Any:
        logits = model.eval()(torch.zeros(2, 3, resolution, resolution))
        asked.append((tuple(logits.shape), resolution, batch_sizes, settings))
        return real(model, resolution, batch_sizes, **settings)

    monkeypatch.setattr(proxy_trial, "measure_latency", measure)
    next(trial(tmp_path, measured=["latency"]))
    side = split().train_images.shape[-1]
    assert asked == [((2, CLASSES), side, [1], {"device": "cpu", "threads": 1, "min_run_time": 0.01})]


def test_the_energy_is_of_one_image_of_the_trial_on_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Driver().install(monkeypatch)
    monkeypatch.setattr(energy, "gpu", lambda place: Gpu("GPU-1") if place.type == "cpu" else None)
    monkeypatch.setattr(energy.measure_energy, "__kwdefaults__", {"min_run_time": 0.1})
    measured = next(trial(tmp_path, measured=["latency", "energy"]))
    assert 0 < measured.energy < 200 * 1000 and measured.latency > 0
    log = (run_folder.trial_folder(tmp_path, 7) / "log.txt").read_text().splitlines()
    assert log[1].endswith(f" INFO energy: {measured.energy:.3f} mJ")


def test_energy_that_nobody_counts_fails_the_trial(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="energy on cpu: it takes an NVIDIA GPU"):
        list(trial(tmp_path, measured=["energy"]))


def test_a_trial_that_is_stopped_after_it_was_measured_trains_nothing(tmp_path: Path) -> None:
    running = trial(tmp_path, measured=["latency"])
    next(running)
    running.close()
    assert [path.name for path in run_folder.trial_folder(tmp_path, 7).iterdir()] == ["log.txt"]
    _, *epochs = trial(tmp_path, measured=["latency"])
    assert list(map(timeless, epochs)) == list(map(timeless, trial(tmp_path / "other")))


def test_a_trial_goes_on_after_its_last_epoch(tmp_path: Path) -> None:
    unbroken = list(map(timeless, trial(tmp_path / "unbroken")))
    killed = trial(tmp_path / "killed", measured=["latency"])
    next(killed), next(killed)
    killed.close()
    measured, *epochs = trial(tmp_path / "killed", measured=["latency"])
    assert type(measured) is Measured
    assert list(map(timeless, epochs)) == unbroken


def test_how_far_the_weights_reach_is_told_before_the_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two groups with a window of two: where the older one is read with next to nothing, one is all it takes."""
    architecture = Architecture(stages=(Stage(blocks=1, group_width=8, window="2G"),), pyramid=(1,))
    read, read_weights = [], proxy_trial.read_weights

    def faded(file: Path) -> Any:
        state = read_weights(file)
        read.append(state)
        for name, weight in state.items():
            # Eight channels a source, step by step: step 1 reads two groups, step 2 these and step 1.
            if re.fullmatch(r"stage1_block1\.layer_.\.weight", name):
                weight[:, 0:8] *= 1e-6
                weight[:, 16:32] *= 1e-6
        return state

    monkeypatch.setattr(proxy_trial, "read_weights", faded)
    first, learned, last = train_proxy(7, architecture, folder=tmp_path, **SETTINGS)
    assert (first.epoch, learned, last.epoch) == (1, Learned(reach=[1]), 2)
    again = list(train_proxy(7, architecture, folder=tmp_path, **SETTINGS))
    assert again == [first, learned, last] and len(read) == 2


def test_the_weights_of_a_narrowed_network_reach_as_far(tmp_path: Path) -> None:
    *_, learned, _ = trial(tmp_path, config=replace(CONFIG, width=0.5))
    assert learned == Learned(reach=[2])


def test_a_failure_stands_in_the_log_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(Diverged):
        list(trial(tmp_path, config=replace(CONFIG, learning_rate=1e9)))
    log = (run_folder.trial_folder(tmp_path, 7) / "log.txt").read_text()
    assert " ERROR failed: " in log and "Traceback" in log and "Diverged" in log


def test_its_metrics_are_what_the_runtime_tells_apart(tmp_path: Path) -> None:
    """Flat, because Ray flattens what is nested; the one by its epoch, the other by the names of objectives."""
    measured, first, *_ = trial(tmp_path, measured=["latency"])
    assert set(asdict(measured)) == set(MEASURED)
    assert {"epoch", "validation_error"} <= set(asdict(first)) and "latency" not in asdict(first)
