from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.datasets import Folder

RED, BLUE = (255, 0, 0), (0, 0, 255)


def paint(path: Path, colour: Any, size: tuple[int, int] = (40, 40), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def fill(root: Path, *, images: int = 5) -> None:
    for number in range(images):
        paint(root / "blue" / f"{number}.png", BLUE)
        paint(root / "red" / f"{number}.png", RED)


def load(root: Path, **fields: Any) -> Any:
    return Folder(root=str(root), **fields).load()


def test_classes_in_root_hold_out_a_fifth(tmp_path: Path) -> None:
    fill(tmp_path, images=10)
    for number in range(10):
        paint(tmp_path / "red" / f"{number}.png", (255, number, 0))
    data, again = load(tmp_path), load(tmp_path)
    assert (data.name, data.class_names, data.resolution) == ("folder", ("blue", "red"), 32)
    assert np.bincount(data.train_labels).tolist() == [8, 8]
    assert np.bincount(data.test_labels).tolist() == [2, 2]
    reds = np.concatenate([data.train_images[8:], data.test_images[2:]])
    assert sorted(reds[:, 1, 0, 0].tolist()) == list(range(10))
    assert np.array_equal(data.test_images, again.test_images)
    assert data.source == f"16 training images of {tmp_path}, 4 to test held out of it (20%)"
    assert data.proxy == Folder.proxy


@pytest.mark.parametrize("part", ["test", "val"])
def test_train_and_test_folders(part: str, tmp_path: Path) -> None:
    fill(tmp_path / "train", images=3)
    fill(tmp_path / part, images=1)
    data = load(tmp_path)
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_labels.tolist() == [0, 1]
    assert data.train_images[0, :, 0, 0].tolist() == list(BLUE)
    assert data.test_images[1, :, 0, 0].tolist() == list(RED)
    assert data.source == f"6 training images of {tmp_path / 'train'}, 2 to test of {tmp_path / part}"


def test_images_are_cut_to_the_centre_and_scaled(tmp_path: Path) -> None:
    fill(tmp_path)
    wide = Image.new("RGB", (120, 40), RED)
    wide.paste(BLUE, (40, 0, 80, 40))
    wide.save(tmp_path / "blue" / "0.png")
    data = load(tmp_path, resolution=16)
    assert data.resolution == 16
    blue = np.concatenate([data.train_images[:4], data.test_images[:1]])
    assert blue[:, 2].min() > 200
    assert blue[:, 0].max() < 50


def test_images_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", images=1)
    picture = Image.new("RGB", (40, 40), RED)
    picture.paste(BLUE, (0, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.save(tmp_path / "test" / "blue" / "0.png", exif=exif)
    turned = load(tmp_path).test_images[0]
    assert turned[:, 0, 0].tolist() == list(RED)
    assert turned[:, -1, 0].tolist() == list(BLUE)


@pytest.mark.parametrize(
    ("mode", "colour"), [("L", 90), ("RGBA", (90, 90, 90, 0)), ("P", 0), ("1", 1), ("LA", (90, 0))]
)
def test_other_modes_become_rgb(mode: str, colour: Any, tmp_path: Path) -> None:
    fill(tmp_path)
    paint(tmp_path / "blue" / "0.png", colour, mode=mode)
    data = load(tmp_path)
    assert data.train_images.shape == (8, 3, 32, 32)
    grey = np.concatenate([data.train_images, data.test_images])[:, :, 5, 5]
    assert (grey == {"1": 255, "P": 0}.get(mode, 90)).all(axis=1).sum() == 1


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such folder; dataset\.root must hold one folder of images for"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("kept", [0, 60])
def test_file_that_cannot_be_read(kept: int, tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "red" / "3.png"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"3\.png: cannot be read as an image .*; repair or remove it"):
        load(tmp_path)


@pytest.mark.parametrize(("mode", "file"), [("I;16", "0.png"), ("F", "0.tiff"), ("I", "0.tiff")])
def test_more_than_8_bits(mode: str, file: str, tmp_path: Path) -> None:
    fill(tmp_path)
    paint(tmp_path / "red" / file, 300, mode=mode)
    with pytest.raises(
        ValueError, match=rf"{file}: has more than 8 bits a channel \(mode {mode}\); convert it to 8 bits"
    ):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"no image", b""])
def test_what_cannot_be_read_is_left_out_on_request(content: bytes, tmp_path: Path) -> None:
    for part in ("train", "test"):
        fill(tmp_path / part, images=3)
    (tmp_path / "train" / "blue" / "1.png").write_bytes(content)
    (tmp_path / "test" / "red" / "0.png").write_bytes(content)
    data = load(tmp_path, on_error="skip")
    assert data.train_labels.tolist() == [0, 0, 1, 1, 1]
    assert data.train_images[:, 0, 5, 5].tolist() == [0, 0, 255, 255, 255]
    assert data.test_labels.tolist() == [0, 0, 0, 1, 1]
    assert data.source.endswith("6 to test of " + str(tmp_path / "test") + "; 2 of them unreadable and left out")


def test_files_for_full_training(tmp_path: Path) -> None:
    fill(tmp_path)
    folder = Folder(root=str(tmp_path), on_error="skip", workers=3, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    files = folder.files()
    assert (files.name, files.on_error, files.workers) == ("folder", "skip", 3)
    assert (files.mean, files.std) == (folder.mean, folder.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (files.class_names, files.train_size, files.test_size) == (("blue", "red"), 8, 2)
    assert files.source == load(tmp_path).source


def test_what_is_read_from_yaml_is_made_plain() -> None:
    folder = Folder(root="data", mean=[0, 0.5, 1], std=[1, 1, 1])  # type: ignore[arg-type]
    assert (folder.mean, folder.std) == ((0.0, 0.5, 1.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"root": ""}, "dataset.root must be the path of a folder, got ''"),
        ({"root": None}, "dataset.root must be the path of a folder, got None"),
        ({"root": "data", "resolution": 4}, "dataset.resolution must be an integer at least 8, got 4"),
        ({"root": "data", "on_error": "warn"}, "dataset.on_error must be one of stop, skip, got 'warn'"),
        ({"root": "data", "workers": -1}, "dataset.workers must be an integer at least 0, got -1"),
        ({"root": "data", "mean": 0.5}, "dataset.mean must be three numbers, one for each channel, got 0.5"),
        (
            {"root": "data", "mean": (0.5, 0.5)},
            r"dataset.mean must be three numbers, one for each channel, got \(0.5, ",
        ),
        ({"root": "data", "mean": (0, 0, 124)}, "dataset.mean must be a number at least 0 and at most 1, got 124"),
        ({"root": "data", "std": (1, 1, 0)}, "dataset.std must be a number above 0 and at most 1, got 0"),
    ],
)
def test_fields_are_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Folder(**fields)
