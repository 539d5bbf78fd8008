"""What a search says and expects of its trials' fidelity, up to the moment at which the first one would begin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces.fixed import FixedSpace
from searchers import ray_cluster, ray_shared, run
from searchers.config import SearchConfig
from searchers.ray_cluster import Share
from tests.searchers.test_config import VALID
from tests.training.test_data import make
from training.data import ImageData
from training.trial import TrialConfig


class Made:
    """A data set of 225 training images of 8 pixels."""

    def load(self) -> ImageData:
        return make([100, 100, 50])


class Begun(Exception):
    """What is asked of the progress, in place of showing it."""


def config(path: Path, **trial: Any) -> SearchConfig:
    space = FixedSpace(architecture="cifar_b_small")
    return replace(VALID, search_space=space, dataset=Made(), run=str(path), trial=TrialConfig(epochs=3, **trial))


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def progress(*_: Any, **settings: Any) -> None:
        raise Begun(settings)

    share = Share(cpu=1, gpu=0, concurrency=1, cluster="nothing")
    monkeypatch.setattr(ray_cluster, "connect", lambda *_, **__: share)
    monkeypatch.setattr(ray_shared, "check_shared", lambda *_: None)
    monkeypatch.setattr(run, "open_progress", progress)


def test_the_levels_of_a_trial_are_told_and_the_estimate_knows_what_they_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    growing = config(tmp_path / "run", share={1: 0.2, 3: 1}, resolution={1: 4, 2: 8}, width=0.5)
    with pytest.raises(Begun) as begun:
        run.run_search(growing)
    told = "3 epochs of 45 images (225 from epoch 3) of 4x4 pixels (8x8 from epoch 2) with 0.5 of the channels"
    assert f"trial: {told}, validated on 25\n" in capsys.readouterr().out
    assert begun.value.args[0]["costs"] == [160 * 16, 160 * 64, 700 * 64]


@pytest.mark.parametrize(
    ("trial", "problem"),
    [
        ({"resolution": 9}, "trial.resolution must be at most 8, the images' own, got 9"),
        (
            {"resolution": {1: 3, 2: 8}},
            "trial.resolution must be at least 4, got 3: the strides of a network of 3 stages shrink images 4 times, "
            "and leave nothing of smaller ones",
        ),
        ({"share": {1: 0.2, 4: 1}}, "trial.share has a level from epoch 4 on, and a trial has 3 epochs"),
        (
            {"share": {1: 0.001, 3: 1}},
            "the train part of made has 0 images and none of class 'class 0' (3 classes): "
            "raise share or lower validation",
        ),
    ],
)
def test_a_fidelity_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, trial: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError) as error:
        run.run_search(config(tmp_path / "run", **trial))
    assert str(error.value) == problem
    assert list(tmp_path.iterdir()) == []
