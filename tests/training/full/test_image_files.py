from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.full.pictures import CLASSES, lay_out
from training.full.data import FullData
from training.full.image_files import ImageFiles

ROOT = Path(__file__).parents[3]


def test_what_is_known_of_the_images(tmp_path: Path) -> None:
    files: FullData = ImageFiles(root=str(lay_out(tmp_path)))
    assert (files.name, files.classes, files.class_names, files.resolution) == ("folder", 3, CLASSES, 224)
    assert (files.train_size, files.test_size) == (12, 6)
    assert (files.mean, files.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert files.source == f"12 training images of {tmp_path / 'train'}, 6 to test of {tmp_path / 'val'}"


def test_the_folders_are_looked_through_once_and_travel_along(tmp_path: Path) -> None:
    files = ImageFiles(root=str(lay_out(tmp_path)))
    unread = pickle.dumps(files)
    assert files.train_size == 12
    read = pickle.dumps(files)
    (tmp_path / "train" / "blue" / "0.jpg").unlink()
    assert (files.train_size, pickle.loads(read).train_size, pickle.loads(unread).train_size) == (12, 12, 11)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        _ = ImageFiles(root=str(tmp_path / "nowhere")).class_names
    lay_out(tmp_path, val=0)
    with pytest.raises(ValueError, match="val/blue: the class has no images"):
        _ = ImageFiles(root=str(tmp_path)).train_size
    with pytest.raises(ValueError, match="must hold train/ and val/"):
        _ = ImageFiles(root=str(tmp_path / "train"), held_out=False).train_size
    assert ImageFiles(root=str(tmp_path / "train")).test_size == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"root": ""}, "dataset.root must be the path of a folder, got ''"),
        ({"resolution": 4}, "dataset.resolution must be an integer at least 8, got 4"),
        ({"on_error": "warn"}, "dataset.on_error must be one of stop, skip, got 'warn'"),
        ({"workers": 1.5}, "dataset.workers must be an integer at least 0, got 1.5"),
        ({"mean": "grey"}, "dataset.mean must be three numbers, one for each channel, got 'grey'"),
        ({"std": (0.2, 0.2, 0.0)}, "dataset.std must be a number above 0 and at most 1, got 0.0"),
    ],
)
def test_fields_are_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageFiles(**{"root": "data", **fields})


def test_the_description_does_without_torch() -> None:
    program = """
import sys
from training.full.image_files import ImageFiles
from training.datasets import ImageNet
ImageNet(root="data").files()
assert not {"torch", "torchvision"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
