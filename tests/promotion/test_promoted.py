from __future__ import annotations

import os
from pathlib import Path

import pytest

from promotion.exportable import Result
from promotion.promoted import promoted
from seqconv.serialization import read_yaml, to_yaml
from tests.promotion.exports import FULL, LARGE, SMALL, promotion

SMALL_IN = {stage: ("trial-0007", stage) for stage in ("cifar", "imagenet")}
LARGE_IN = {stage: ("preset-large", stage) for stage in ("cifar", "imagenet")}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two seeds each in the first stage; in the second one, of the first candidate, three, the last still open."""
    errors: dict[tuple[str, str], list[float | None]] = {
        SMALL_IN["cifar"]: [0.4, 0.1], LARGE_IN["cifar"]: [0.2, 0.2], SMALL_IN["imagenet"]: [0.5, 0.25, None],
    }  # fmt: skip
    return promotion(tmp_path / "run", errors)


def test_the_best_is_that_of_the_lowest_mean_with_the_weights_of_its_best_seed(run: Path) -> None:
    found = promoted(run, "best", "cifar")
    assert (found.name, found.architecture) == ("preset-large", LARGE)
    assert found.result == Result(part="test", errors={0: 0.2, 1: 0.2}, seed=0, epochs=3, recipe=FULL, among=2)
    assert found.weights == run / "candidates" / "preset-large" / "cifar" / "seed-0" / "model.safetensors"
    assert (found.classes, found.resolution) == (3, 16)
    assert found.dataset is not None and found.dataset.class_names == ("disc", "ring", "bar")
    assert found.origin == {
        "promotion": "run", "candidate": "preset-large", "stage": "cifar", "chosen_from": {"preset": "large"}
    }  # fmt: skip


@pytest.mark.parametrize("trial", ["best", "trial-0007", 7])
def test_without_a_stage_the_last_one_that_has_a_result(run: Path, trial: str | int) -> None:
    found = promoted(run, trial, None)
    assert found.origin["stage"] == "imagenet"
    assert found.result is not None and found.result.errors == {0: 0.5, 1: 0.25}
    assert found.result.seed == 1
    assert found.weights == run / "candidates" / "trial-0007" / "imagenet" / "seed-1" / "model.safetensors"


def test_the_resolution_is_that_of_the_evaluation(run: Path) -> None:
    assert promoted(run, 7, "imagenet").resolution == 32
    described = dict(read_yaml(run / "promote.yaml"))
    described["stages"]["imagenet"]["recipe"]["evaluation_resolution"] = None
    (run / "promote.yaml").write_text(to_yaml(described))
    assert promoted(run, 7, "imagenet").resolution == 24


def test_how_images_in_files_were_prepared(run: Path) -> None:
    described = dict(read_yaml(run / "promote.yaml"))
    for name, expected in {"shapes": "", "folder": "shorter side has 37 pixels, the central 32x32 cut out"}.items():
        described["stages"]["imagenet"]["dataset"]["name"] = name
        (run / "promote.yaml").write_text(to_yaml(described))
        data = promoted(run, 7, "imagenet").dataset
        assert data is not None and expected in data.preparation and bool(expected) == bool(data.preparation)


def test_a_candidate_that_did_not_reach_the_last_stage(run: Path) -> None:
    found = promoted(run, "preset-large", None)
    assert (found.name, found.origin["stage"]) == ("preset-large", "cifar")


def test_the_architecture_is_the_one_that_the_stage_trained(run: Path) -> None:
    trained = run / "candidates" / "trial-0007" / "imagenet" / "architecture.yaml"
    trained.write_text((run / "candidates" / "preset-large" / "architecture.yaml").read_text())
    assert promoted(run, 7, "imagenet").architecture == LARGE
    assert promoted(run, 7, "cifar").architecture == SMALL


def test_a_model_of_timm(tmp_path: Path) -> None:
    found = promoted(promotion(tmp_path / "run", {("timm-resnet10t", "cifar"): [0.5]}), "best", None)
    assert (found.architecture, found.timm_name) == (None, "resnet10t")
    assert found.weights is not None and found.weights.is_file()


def test_weights_that_were_deleted(run: Path) -> None:
    weights = run / "candidates" / "preset-large" / "cifar" / "seed-0" / "model.safetensors"
    weights.unlink()
    found = promoted(run, "preset-large", None)
    assert found.weights is None
    assert found.no_weights == f"{weights} is missing"


@pytest.mark.parametrize(
    ("trial", "stage", "message"),
    [
        ("trial-0070", None, "trial must be one of trial-0007, preset-large, timm-resnet10t, got 'trial-0070' "
                             "(did you mean trial-0007?)"),
        (8, None, "trial must be one of trial-0007, preset-large, timm-resnet10t, got 'trial-0008' "
                  "(did you mean trial-0007?)"),
        ("best", "imagenets", "stage must be one of cifar, imagenet, got 'imagenets' (did you mean imagenet?)"),
        ("pareto", None, "trial=pareto is for a search; of a promotion take best or a candidate's name"),
        ("preset-large", "imagenet",
         "no training of preset-large in stage imagenet has come to its end with a result yet"),
        ("timm-resnet10t", None,
         "no training of timm-resnet10t in stage cifar or imagenet has come to its end with a result yet"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported(run: Path, trial: str | int, stage: str | None, message: str) -> None:
    with pytest.raises(ValueError) as error:
        promoted(run, trial, stage)
    assert str(error.value) == f"run={run}: {message}"


def test_a_promotion_that_has_just_begun(tmp_path: Path) -> None:
    run = promotion(tmp_path / "run", {SMALL_IN["cifar"]: [None]})
    with pytest.raises(ValueError) as error:
        promoted(run, "best", None)
    assert str(error.value) == (
        f"run={run}: no training in stage cifar or imagenet has come to its end with a result yet"
    )


def test_a_promotion_of_a_newer_version(run: Path) -> None:
    described = {**read_yaml(run / "promote.yaml"), "version": 2}
    (run / "promote.yaml").write_text(to_yaml(described))
    with pytest.raises(ValueError, match=f"^{run / 'promote.yaml'}: version 2 is newer than 1, the newest this "):
        promoted(run, "best", None)
