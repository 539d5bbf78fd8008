from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training import resize
from training.resize import resized

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 3, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("side", [1, 8, 16, 24, 31])
def test_it_is_the_antialiased_resize_of_pillow(side: int) -> None:
    small = resized(IMAGES, side)
    assert (small.dtype, small.shape) == (np.uint8, (7, 3, side, side))
    for image, found in zip(IMAGES, small, strict=True):
        picture = Image.fromarray(image.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BILINEAR)
        expected = np.asarray(picture).transpose(2, 0, 1).astype(int)
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_pattern_finer_than_the_pixels_becomes_grey() -> None:
    """Without antialiasing, every second pixel of a chequerboard would be one of its colours."""
    board = np.broadcast_to((np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8), (1, 3, 32, 32))
    assert np.abs(resized(board, 8).astype(int)[..., 1:-1, 1:-1] - 127).max() <= 1


def test_images_of_that_size_are_left_alone() -> None:
    assert resized(IMAGES, 32) is IMAGES


def test_the_result_does_not_depend_on_how_many_are_resized_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resized(IMAGES, 12)
    monkeypatch.setattr(resize, "_CHUNK", 3)
    np.testing.assert_array_equal(resized(IMAGES, 12), whole)


def test_no_image_and_read_only_images_can_be_resized() -> None:
    assert resized(IMAGES[:0], 8).shape == (0, 3, 8, 8)
    frozen = IMAGES.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(resized(frozen, 8), resized(IMAGES, 8))
