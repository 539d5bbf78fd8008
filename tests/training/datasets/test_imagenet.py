from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.datasets import ImageNet


def lay_out(root: Path, *parts: str) -> None:
    for part in parts:
        for number, name in enumerate(("n01440764", "n01443537")):
            (root / part / name).mkdir(parents=True)
            Image.new("RGB", (20, 30), (100 * number, 0, 0)).save(root / part / name / f"{name}_1.JPEG")


def test_files_for_full_training(tmp_path: Path) -> None:
    lay_out(tmp_path, "train", "val")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "ILSVRC2012_test_00000001.JPEG").touch()
    files = ImageNet(root=str(tmp_path)).files()
    assert (files.name, files.resolution, files.train_size, files.test_size) == ("imagenet", 224, 2, 2)
    assert files.folders.test.root == tmp_path / "val"
    assert (files.mean, files.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_in_memory_for_a_search(tmp_path: Path) -> None:
    lay_out(tmp_path, "train", "val")
    data = ImageNet(root=str(tmp_path), resolution=16).load()
    assert (data.name, data.class_names, data.resolution) == ("imagenet", ("n01440764", "n01443537"), 16)
    assert np.array_equal(data.train_images, data.test_images)
    assert data.proxy == ImageNet.proxy


@pytest.mark.parametrize(("parts", "found"), [((), "n01440764, n01443537"), (("train",), "train"), (("val",), "val")])
def test_both_parts_must_be_there(parts: tuple[str, ...], found: str, tmp_path: Path) -> None:
    lay_out(tmp_path, *(parts or [""]))
    with pytest.raises(ValueError, match=rf"dataset\.root must hold train/ and val/ .*; it holds {found}$"):
        ImageNet(root=str(tmp_path)).load()
