"""The images of a promotion's stages: where they come from, and whether the search was on the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from promotion import stage_data
from promotion.config import Stage
from searchers.run_folder import RunFolder
from tests.promotion.fakes import config, stage
from tests.real_data import write_imagenette
from training.datasets import Auto, Folder
from training.full.image_files import ImageFiles
from training.full.recipe import Recipe


def search(folder: Path, name: str = "digits", classes: int = 10) -> str:
    about = {"name": name, "resolution": 16, "classes": classes, "class_names": [str(i) for i in range(classes)]}
    RunFolder(folder).open({"search_space": {"name": "tiny"}, "dataset": about, "trial": {}, "seed": 0}, {})
    return str(folder)


def test_the_images_of_the_search(tmp_path: Path) -> None:
    settings = config(run=search(tmp_path / "run"), top=1, presets=[])
    data = stage_data.load(settings)
    (line,) = stage_data.describe(settings, data)
    assert line.startswith("data for cifar: digits, 1,797 handwritten digits")


def test_other_images_that_were_asked_for(tmp_path: Path) -> None:
    settings = config(run=search(tmp_path / "run", "shapes", 3), top=1, presets=[])
    _, note = stage_data.describe(settings, stage_data.load(settings))
    expected = "the search was on shapes (3 classes), stage cifar trains on digits (10 classes)"
    assert note == f"note: run={tmp_path / 'run'}: {expected}"


def test_a_default_does_not_stand_in_for_the_images_of_the_search(tmp_path: Path) -> None:
    dataset = Auto(root=str(tmp_path / "nothing"), download=False)
    run = search(tmp_path / "run", "shapes", 3)
    settings = config(run=run, top=1, presets=[], cifar=replace(stage(), dataset=dataset))
    with pytest.raises(ValueError) as error:
        stage_data.load(settings)
    assert str(error.value) == (
        f"run={run}: the search was on shapes (3 classes), stage cifar trains on digits (10 classes): "
        f"give cifar.dataset= and what it needs, as in {run}/config.yaml, or other data by name"
    )


def test_a_folder_is_in_memory_for_cifar_and_in_files_for_imagenet(tmp_path: Path) -> None:
    write_imagenette(tmp_path, train=3, val=2, size=40)
    of_folder = Stage(recipe=Recipe(epochs=1, batch_size=4), dataset=Folder(root=str(tmp_path), resolution=24))
    data = stage_data.load(config(cifar=of_folder, imagenet=of_folder, stages=["cifar", "imagenet"]))
    assert data["cifar"].resolution == 24
    assert isinstance(data["imagenet"], ImageFiles)
    assert data["imagenet"].resolution == 224
