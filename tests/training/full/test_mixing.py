from __future__ import annotations

import torch
from torch import Tensor

from training.full.mixing import mixing
from training.full.recipe import Recipe

LABELS = torch.tensor([0, 1, 2, 1])
IMAGES = LABELS[:, None, None, None].expand(4, 3, 8, 8).float()


def drawn(recipe: Recipe, seed: int) -> tuple[Tensor, Tensor]:
    mix = mixing(recipe, 3)
    assert mix is not None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mix(IMAGES, LABELS)


def test_without_an_alpha_nothing_is_mixed() -> None:
    assert mixing(Recipe(), 3) is None


def test_mixup_mixes_pixels_as_it_mixes_labels() -> None:
    images, shares = drawn(Recipe(mixup=1.0), 0)
    torch.testing.assert_close(shares.sum(1), torch.ones(4))
    value = shares @ torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(images, value[:, None, None, None].expand(4, 3, 8, 8))
    assert not torch.equal(images, IMAGES)


def test_cutmix_puts_one_image_into_another_as_it_mixes_labels() -> None:
    images, shares = drawn(Recipe(cutmix=1.0), 0)
    assert set(images.unique().tolist()) <= {0.0, 1.0, 2.0}
    for image, share in zip(images, shares, strict=True):
        counted = torch.stack([(image == label).float().mean() for label in range(3)])
        torch.testing.assert_close(counted, share)
    assert not torch.equal(images, IMAGES)


def test_with_both_each_batch_takes_one() -> None:
    whole = [
        bool((images == images.round()).all())
        for images, _ in (drawn(Recipe(mixup=1.0, cutmix=1.0), s) for s in range(40))
    ]
    assert 10 < sum(whole) < 30


def test_the_layout_is_kept() -> None:
    for recipe in (Recipe(mixup=1.0), Recipe(cutmix=1.0)):
        mix = mixing(recipe, 3)
        assert mix is not None
        images, _ = mix(torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last), LABELS)
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_seed_decides() -> None:
    recipe = Recipe(mixup=0.2, cutmix=1.0)
    assert torch.equal(drawn(recipe, 3)[0], drawn(recipe, 3)[0])
    assert not torch.equal(drawn(recipe, 3)[0], drawn(recipe, 4)[0])
