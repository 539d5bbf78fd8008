from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.augment import crop_flip, draw


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, height: int = 6, width: int = 5) -> Tensor:
    """All pixels of all images differ from black."""
    return torch.randint(1, 256, (count, height, width, 3), generator=generator(1)).to(torch.uint8)


def literal(image: Tensor, row: int, column: int, flip: int, padding: int) -> Tensor:
    height, width, channels = image.shape
    padded = torch.zeros(height + 2 * padding, width + 2 * padding, channels, dtype=torch.uint8)
    padded[padding : padding + height, padding : padding + width] = image
    cropped = padded[row : row + height, column : column + width]
    return cropped.flip(1) if flip else cropped


def test_it_equals_the_literal_crop_and_flip_of_each_image() -> None:
    batch = images(40)
    draws = draw(40, padding=2, flip=True, generator=generator())
    result = crop_flip(batch, draws, padding=2)
    expected = [literal(image, *d, padding=2) for image, d in zip(batch, draws.tolist(), strict=True)]
    assert torch.equal(result, torch.stack(expected))
    assert result.dtype == torch.uint8


def test_the_middle_offset_without_flip_changes_nothing() -> None:
    batch = images(3)
    assert torch.equal(crop_flip(batch, torch.tensor([[2, 2, 0]] * 3), padding=2), batch)


def test_without_padding_only_flips_are_left() -> None:
    batch = images(2)
    result = crop_flip(batch, torch.tensor([[0, 0, 0], [0, 0, 1]]), padding=0)
    assert torch.equal(result[0], batch[0])
    assert torch.equal(result[1], batch[1].flip(1))


def test_every_offset_and_both_flips_are_drawn_about_equally_often() -> None:
    draws = draw(9000, padding=4, flip=True, generator=generator())
    for values, outcomes in zip(draws.unbind(dim=1), (9, 9, 2), strict=True):
        counts = torch.bincount(values)
        assert len(counts) == outcomes
        assert counts.min() > 0.85 * 9000 / outcomes


def test_without_flip_none_is_drawn() -> None:
    assert draw(500, padding=4, flip=False, generator=generator())[:, 2].tolist() == [0] * 500


@pytest.mark.parametrize("flip", [True, False])
def test_it_draws_the_same_for_the_same_seed(flip: bool) -> None:
    first, again, other = (draw(50, padding=4, flip=flip, generator=generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_draws_the_same_crops_with_and_without_flip() -> None:
    crops = [draw(50, padding=4, flip=flip, generator=generator())[:, :2] for flip in (True, False)]
    assert torch.equal(*crops)
