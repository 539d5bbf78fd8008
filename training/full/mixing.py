"""Mixup and cutmix of a whole batch.

Zhang et al., 2018, "mixup: Beyond Empirical Risk Minimization" (arXiv 1710.09412); Yun et al., 2019, "CutMix" (arXiv
1905.04899).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from training.full.recipe import Recipe

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def mixing(recipe: Recipe, classes: int) -> Mix | None:
    """What turns a batch of images and int64 labels into mixed images and (N, classes) shares of labels.

    It draws from torch's global random numbers on the CPU. None where the recipe mixes nothing.
    """
    if not recipe.mixup and not recipe.cutmix:
        return None
    from torchvision.transforms import v2  # takes a second to import

    mixed = []
    if recipe.mixup:
        mixed.append(v2.MixUp(alpha=recipe.mixup, num_classes=classes))
    if recipe.cutmix:
        mixed.append(v2.CutMix(alpha=recipe.cutmix, num_classes=classes))
    mix: Mix = v2.RandomChoice(mixed)
    return mix
