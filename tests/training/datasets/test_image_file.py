from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.full.pictures import UNREADABLE, encoded, picture
from training.datasets.image_file import read_rgb

PICTURE = picture(0, 0)


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(path: Path) -> np.ndarray:
    image = read_rgb(path)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_kinds_of_files(kind: str, tmp_path: Path) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(PICTURE, kind, **options)
    assert np.array_equal(read(written(tmp_path, "0.JPEG", content)), np.asarray(PICTURE))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_kinds_of_jpeg(mode: str, tmp_path: Path) -> None:
    even = Image.new("RGB", (40, 30), (250, 100, 50)).convert(mode)
    path = written(tmp_path, "0.jpg", encoded(even, quality=95))
    with Image.open(path) as image:
        assert image.mode == mode
    expected = np.asarray(even.convert("RGB")).astype(int)
    assert np.abs(read(path) - expected).max() <= 4
    assert expected[0, 0, 0] > 100


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_other_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    image = PICTURE.convert(mode)
    assert np.array_equal(read(written(tmp_path, "0.png", encoded(image, "PNG"))), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_the_camera_says(orientation: int, kind: str, tmp_path: Path) -> None:
    corner = Image.new("L", (48, 32))
    corner.paste(255, (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read(written(tmp_path, "0.jpg", encoded(corner, kind, exif=exif)))[..., 0]
    assert image.shape == ((32, 48) if orientation < 5 else (48, 32))
    bottom, right = image.sum(axis=1).argmax() >= 16, image.sum(axis=0).argmax() >= 16
    assert (bool(bottom), bool(right)) == {
        1: (False, False), 2: (False, True), 3: (True, True), 4: (True, False),
        5: (False, False), 6: (False, True), 7: (True, True), 8: (True, False),
    }[orientation]  # fmt: skip


@pytest.mark.parametrize("content", UNREADABLE)
def test_files_that_cannot_be_read_are_named(content: str, tmp_path: Path) -> None:
    path = written(tmp_path, "a.jpg", UNREADABLE[content])
    reason = (
        r"has more than 8 bits a channel \(mode I;16\)" if content == "16-bit" else r"cannot be read as an image \("
    )
    with pytest.raises(ValueError, match=rf"a\.jpg: {reason}"):
        read_rgb(path)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.jpg: cannot be read as an image \(.*No such file"):
        read_rgb(tmp_path / "gone.jpg")
