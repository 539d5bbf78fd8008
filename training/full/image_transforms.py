"""What becomes of one image on its way from a file to a batch: a Pillow image in, a uint8 CHW tensor out.

Crops are computed on tensors, which is a fifth faster. What the stronger augmentations do is faster in Pillow, and so
is then the crop before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.transforms import v2

if TYPE_CHECKING:
    from PIL.Image import Image

    from training.full.recipe import Recipe

Transform = Callable[["Image"], Tensor]
_Steps = list[Callable[..., Any]]

TEST_CROP = 0.875
"""Side of the central square that is tested on, as a share of the shorter side of the image."""
# Principal components of the colours of ImageNet, for values from 0 to 1.
_VALUES = (0.2175, 0.0188, 0.0045)
_VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


def training(recipe: Recipe, *, resolution: int, mean: tuple[float, float, float]) -> Transform:
    """The recipe's augmentation, to a square of `resolution`; it draws from torch's global random numbers on the CPU.

    Args:
        recipe: of which augment, colour_jitter, lighting and random_erasing are used; augment auto is resized_crop.
        resolution: side in pixels of the result.
        mean: colour of an erased rectangle, for values from 0 to 1: zero once the image is normalised.
    """
    steps = _AUGMENTATIONS[recipe.augment](resolution)
    if recipe.colour_jitter:
        jitter = recipe.colour_jitter
        steps.append(v2.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter))
    if recipe.lighting:
        steps.append(Lighting(std=recipe.lighting))
    if recipe.random_erasing:
        steps.append(v2.RandomErasing(p=recipe.random_erasing, value=[round(255 * value) for value in mean]))
    return v2.Compose(steps)  # type: ignore[no-any-return]


@lru_cache
def evaluation(resolution: int) -> Transform:
    """The central square, `TEST_CROP` of the shorter side, scaled to `resolution`."""
    return v2.Compose(_central(resolution, round(resolution / TEST_CROP)))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """Noise along the principal components of colour.

    Krizhevsky et al., 2012, "ImageNet Classification with Deep Convolutional Neural Networks", section 4.1.
    """

    std: float
    """Standard deviation of the noise in units of that of the component."""

    def __call__(self, image_CHW: Tensor) -> Tensor:
        weights = torch.randn(3) * self.std * torch.tensor(_VALUES)
        shift = (torch.tensor(_VECTORS) @ weights * 255).round().to(torch.int16)
        return (image_CHW.to(torch.int16) + shift[:, None, None]).clamp_(0, 255).to(torch.uint8)


def _central(resolution: int, shorter: int) -> _Steps:
    return [v2.PILToTensor(), v2.Resize(shorter), v2.CenterCrop(resolution)]


def _crop(resolution: int) -> _Steps:
    return [v2.PILToTensor(), v2.Resize(resolution), v2.RandomCrop(resolution, padding=resolution // 8)]


def _crop_flip(resolution: int) -> _Steps:
    return [*_crop(resolution), v2.RandomHorizontalFlip()]


def _resized_crop(resolution: int) -> _Steps:
    return [v2.PILToTensor(), v2.RandomResizedCrop(resolution), v2.RandomHorizontalFlip()]


def _trivial(resolution: int) -> _Steps:
    """Müller and Hutter, 2021, "TrivialAugment" (arXiv 2103.10158)."""
    return _in_pillow(resolution, v2.TrivialAugmentWide(interpolation=_BILINEAR))


def _randaugment(resolution: int) -> _Steps:
    """Cubuk et al., 2019, "RandAugment" (arXiv 1909.13719)."""
    return _in_pillow(resolution, v2.RandAugment(interpolation=_BILINEAR))


def _in_pillow(resolution: int, after_crop: v2.Transform) -> _Steps:
    return [v2.RandomResizedCrop(resolution), v2.RandomHorizontalFlip(), after_crop, v2.PILToTensor()]


_BILINEAR = v2.InterpolationMode.BILINEAR
_AUGMENTATIONS: dict[str, Callable[[int], _Steps]] = {
    "auto": _resized_crop,
    "resized_crop": _resized_crop,
    "crop_flip": _crop_flip,
    "crop": _crop,
    "trivial": _trivial,
    "randaugment": _randaugment,
    "none": lambda resolution: _central(resolution, resolution),
}
