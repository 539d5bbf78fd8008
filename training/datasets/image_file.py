"""One image file, as Pillow reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def read_rgb(path: Path) -> Image:
    """An image in red, green and blue, turned as its camera says.

    Raises:
        ValueError: a file that is no image, is damaged or has more than 8 bits a channel, naming it.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as an image ({error}); repair or remove it") from None
    # Pillow cuts values above 255 off where it converts these modes.
    if upright.mode.startswith(("I", "F")):
        raise ValueError(f"{path}: has more than 8 bits a channel (mode {upright.mode}); convert it to 8 bits")
    return upright if upright.mode == "RGB" else upright.convert("RGB")
