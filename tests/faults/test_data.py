"""Data that vanish while a search runs: the images are in memory by then, and missed by the next command. No Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from searchers import ray_backend, ray_cluster, ray_shared
from searchers.config import SearchConfig
from searchers.proxy_trial import train_proxy
from searchers.ray_cluster import Share
from searchers.record import COMPLETED
from searchers.run import run_search
from searchers.session import Session
from searchers.study import read_records
from seqconv.serialization import read_yaml
from tests.searchers.doctor.runs import contents
from tests.searchers.fakes import space
from tests.searchers.test_config import VALID
from training.datasets import Folder
from training.trial import TrialConfig


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixty images of three classes, thirty to test."""
    noise = np.random.default_rng(0)
    for part, images in (("train", 20), ("test", 10)):
        for name in ("ant", "bee", "cat"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(images):
                image = Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8))
                image.save(tmp_path / "data" / part / name / f"{number}.png")
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(session: Session, *, train: Any, folder: Path, shared: Any, **_: Any) -> None:
        while (trial := session.propose()) is not None:
            for told in train(trial.number, trial.architecture, device="cpu", threads=1, folder=folder, **shared):
                (session.on_epoch if hasattr(told, "epoch") else session.on_measured)(trial.number, asdict(told))
            session.on_end(trial.number)

    monkeypatch.setattr(ray_cluster, "connect", lambda *_, **__: Share(cpu=1, gpu=0, concurrency=1, cluster="nothing"))
    monkeypatch.setattr(ray_shared, "check_shared", lambda *_: None)
    monkeypatch.setattr(ray_backend, "run", run)


def test_images_that_vanish_while_a_search_runs(data: Path, tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"

    def config(trials: int) -> SearchConfig:
        trial = TrialConfig(epochs=1, share=1.0, batch_size=16)
        images = Folder(root=str(data), resolution=8)
        return replace(VALID, search_space=space(), dataset=images, trial=trial, run=str(run), trials=trials)

    def vanishing(number: int, *given: Any, **settings: Any) -> Iterator[Any]:
        if number == 1:
            data.rename(elsewhere)
        yield from train_proxy(number, *given, **settings)

    def refusal() -> str:
        before = contents(run)
        with pytest.raises(ValueError) as caught:
            run_search(config(4))
        assert contents(run) == before
        return str(caught.value)

    assert run_search(config(3), train_trial=vanishing) == 0
    ended = read_records(run)
    assert [record.outcome for record in ended] == [COMPLETED] * 3
    assert read_yaml(run / "environment.yaml")["of_each_trial"] == {"cpus": 1, "gpus": 0}
    assert refusal() == f"{data}: no such folder; dataset.root must hold one folder of images for each class"
    elsewhere.rename(data)
    image = (data / "train" / "bee" / "3.png").rename(tmp_path / "3.png")
    assert refusal().startswith(f"run={run} belongs to another search: dataset.images is 60 there and 59 here; ")
    image.rename(data / "train" / "bee" / "3.png")
    assert run_search(config(4)) == 0
    assert read_records(run)[:3] == ended and len(read_records(run)) == 4
