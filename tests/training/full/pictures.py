"""Folders of small pictures that are no two the same, and files that are no pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("blue", "green", "red")


def lay_out(
    root: Path,
    *,
    train: int = 4,
    val: int = 2,
    classes: Sequence[str] = CLASSES,
    size: tuple[int, int] = (40, 30),
    kind: str = "jpg",
) -> Path:
    """`train` and `val` pictures of each class, of (width, height) `size`."""
    for part, images in (("train", train), ("val", val)):
        for label, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for number in range(images):
                picture(label, len(part) * 1000 + number, size).save(root / part / name / f"{number}.{kind}")
    return root


def picture(label: int, number: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Noise that is brightest in the channel `label`."""
    generator = np.random.default_rng((label, number))
    pixels = generator.integers(0, 120, (size[1], size[0], 3))
    pixels[..., label % 3] += 100
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


UNREADABLE = {
    "truncated": encoded(picture(0, 0))[:-200],
    "text": b"no picture at all",
    "empty": b"",
    "16-bit": encoded(Image.fromarray(np.full((30, 40), 40_000, np.uint16)), "PNG"),
}
"""What a file may hold that has a picture's name."""
