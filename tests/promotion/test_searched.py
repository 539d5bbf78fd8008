from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from promotion.exportable import Dataset, Result
from promotion.searched import searched
from searchers.record import DRIVER
from seqconv.serialization import read_yaml, to_yaml
from tests.promotion.exports import RECIPE, SPACE, search
from tests.searchers.fakes import begin, drawn, finish, store


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return search(tmp_path / "run")


@pytest.mark.parametrize(
    ("trial", "picked"), [("best", [1]), (0, [0]), (1, [1]), (2, [2]), (4, [0]), (6, [6]), ("pareto", [1, 0])]
)
def test_which_trials_are_taken(run: Path, trial: str | int, picked: list[int]) -> None:
    """The fourth is a duplicate of the first, which has the weights; the sixth costs more than a better one."""
    assert [exportable.origin["trial"] for exportable in searched(run, trial, "params")] == picked


def test_the_front_is_of_the_cost_that_is_asked_for(run: Path) -> None:
    """macs falls as params rises."""
    assert [exportable.name for exportable in searched(run, "pareto", "macs")] == ["trial-0001"]


def test_what_is_known_of_a_trial(run: Path) -> None:
    (found,) = searched(run, 1, "params")
    assert found.architecture is not None
    assert (found.name, found.classes, found.resolution) == ("trial-0001", 3, 16)
    assert found.weights == run / "trials" / "0001" / "model.pt"
    assert found.dataset == Dataset(
        name="shapes", class_names=("disc", "ring", "bar"), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )
    assert found.result == Result(part="validation", errors={5: 0.125}, seed=5, epochs=2, recipe=RECIPE)
    assert found.origin == {"search": "run", "trial": 1}


@pytest.mark.parametrize("trial", [2, 6])
def test_a_trial_whose_weights_were_not_kept(run: Path, trial: int) -> None:
    (found,) = searched(run, trial, "params")
    assert found.weights is None
    assert found.no_weights.startswith("the search kept none of it, because it was stopped early or ")


def test_weights_that_another_search_of_the_study_has(run: Path) -> None:
    here, there = (f"gpu{n}:{folder}" for n, folder in enumerate((run, "/runs/b")))
    opened = store(run, of=SPACE)
    for where in (here, there):
        finish(
            opened,
            opened.begin(drawn(8, SPACE), {**opened.record(0).facts, DRIVER: {"name": "a", "where": where}}),
            0.5,
        )
    (run / "trials" / "0007").mkdir()
    (own,), (other,) = (searched(run, number, "params") for number in (7, 8))
    assert own.no_weights.startswith("the search kept none of it")
    assert other.no_weights == f"another search of the study trained it: they are in {there}, if it kept them"
    assert other.origin == {"search": "run", "trial": 8}


def test_weights_of_a_narrow_network_are_not_those_of_what_was_searched(tmp_path: Path) -> None:
    (found,) = searched(search(tmp_path / "run", width=0.5), 1, "params")
    assert found.weights is None
    assert found.no_weights == "the search trained a network with 0.5 of its channels (trial.width)"


@pytest.mark.parametrize(("trial", "resolution", "side"), [(1, 8, 8), (1, {1: 4, 2: 12}, 12), (2, {1: 4, 2: 12}, 4)])
def test_a_model_has_the_resolution_that_it_was_trained_at(
    tmp_path: Path, trial: int, resolution: Any, side: int
) -> None:
    """Trial 2 was stopped after its first epoch."""
    (found,) = searched(search(tmp_path / "run", resolution=resolution), trial, "params")
    assert found.resolution == side
    assert found.dataset is not None
    assert found.dataset.preparation == f"shrunk to {side}x{side} pixels, with antialiasing"


@pytest.mark.parametrize(
    ("trial", "problem"),
    [
        (3, "trial 3 is failed; the nearest finished ones are 2, 1, 0, 6"),
        (5, "trial 5 is running; the nearest finished ones are 6, 2, 1, 0"),
        (99, "there is no trial 99; the nearest finished ones are 6, 2, 1, 0"),
    ],
)
def test_a_trial_that_cannot_be_exported(run: Path, trial: int, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        searched(run, trial, "params")
    assert str(error.value) == f"run={run}: {problem}"


@pytest.mark.parametrize("trial", ["best", "pareto", 0])
def test_no_trial_has_finished(run: Path, trial: str | int) -> None:
    (run / "study.journal").unlink()
    shutil.rmtree(run / "trials")
    opened = store(run, of=SPACE)
    begin(opened, SPACE)
    with pytest.raises(ValueError, match=f"^run={run}: no trial has finished yet"):
        searched(run, trial, "params")


def test_a_word_that_names_no_trial(run: Path) -> None:
    with pytest.raises(ValueError) as error:
        searched(run, "beste", "params")
    assert str(error.value) == "trial of a search must be best, pareto or the number of a trial, got 'beste'"


def test_a_search_without_a_journal(run: Path) -> None:
    (run / "study.journal").unlink()
    with pytest.raises(ValueError, match=f"^{run}: no study.journal there; run= takes the folder of a search"):
        searched(run, "best", "params")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2 is newer than 1, the newest this release reads: upgrade it"),
        ({"schema": "other"}, "schema must be 'seqconv.run', got 'other'"),
        ({"trial": ...}, "missing key 'trial'; required are schema, version, id, search_space, dataset, trial, seed"),
        ({"dataset": {"name": "shapes"}}, "dataset: missing key 'classes'; required are name, classes, resolution, "),
        ({"dataset": 3}, "dataset must be a mapping, got 3"),
    ],
)
def test_a_description_that_cannot_be_used(run: Path, change: dict[str, Any], message: str) -> None:
    described = {k: v for k, v in {**read_yaml(run / "run.yaml"), **change}.items() if v is not ...}
    (run / "run.yaml").write_text(to_yaml(described))
    with pytest.raises(ValueError) as error:
        searched(run, "best", "params")
    assert str(error.value).startswith(f"{run / 'run.yaml'}: {message}")


def test_a_recipe_of_its_own_stands_beside_that_of_the_search(run: Path) -> None:
    opened = store(run, SPACE)
    architecture = SPACE.decode(drawn(len(opened.records()), SPACE))
    about = {"architecture": architecture.to_dict(), "fingerprint": architecture.fingerprint()}
    number = begin(opened, SPACE, **about, recipe={"learning_rate": 0.02}).number
    finish(opened, opened.record(number), 0.3, 0.2)
    (found,) = searched(run, number, "params")
    assert found.result is not None
    assert found.result.recipe == {**RECIPE, "by_epoch": [{"epochs": [1, 2], "learning_rate": 0.02}]}
