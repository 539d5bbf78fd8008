from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from searchers import proxy_trial, run_folder
from searchers.proxy_trial import Measured, train_proxy
from tests.training import tiny
from tests.training.tiny import CLASSES, TINY, split
from training.loop import EpochMetrics
from training.trainer import Diverged

CONFIG = replace(tiny.CONFIG, epochs=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_trial, "LATENCY_TIME", 0.01)


def trial(run: Path, **changes: Any) -> Any:
    """The generator of trial 7."""
    settings = {"split": split(), "config": CONFIG, "classes": CLASSES, "seed": 0, "device": "cpu", "threads": 1}
    return train_proxy(7, TINY, folder=run, **{**settings, **changes})


def timeless(metrics: EpochMetrics) -> dict[str, Any]:
    return {name: value for name, value in asdict(metrics).items() if "second" not in name}


def test_a_trial_is_trained_in_its_own_folder_with_its_log(tmp_path: Path) -> None:
    epochs = list(trial(tmp_path))
    assert [metrics.epoch for metrics in epochs] == list(range(1, len(epochs) + 1))
    target = run_folder.trial_folder(tmp_path, 7)
    assert {path.name for path in target.iterdir()} == {"log.txt", "metrics.csv", "model.pt", "checkpoint.pt"}
    logged = re.findall(r" INFO (.*)", (target / "log.txt").read_text())
    assert logged == [f"epoch {m.epoch}: validation error {m.validation_error:.4f}" for m in epochs]


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


def test_a_failure_stands_in_the_log_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(Diverged):
        list(trial(tmp_path, config=replace(CONFIG, learning_rate=1e9)))
    log = (run_folder.trial_folder(tmp_path, 7) / "log.txt").read_text()
    assert " ERROR failed: " in log and "Traceback" in log and "Diverged" in log


def test_its_metrics_are_what_the_runtime_tells_apart(tmp_path: Path) -> None:
    """Flat, because Ray flattens what is nested; the one by its epoch, the other by the names of objectives."""
    measured, first, *_ = trial(tmp_path, measured=["latency"])
    assert set(asdict(measured)) == {"latency"}
    assert {"epoch", "validation_error"} <= set(asdict(first)) and "latency" not in asdict(first)
