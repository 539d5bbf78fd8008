from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from tests.training.full.pictures import picture
from training.full import image_transforms
from training.full.image_transforms import Lighting
from training.full.recipe import AUGMENTATIONS, Recipe

MEAN = (0.2, 0.4, 0.6)
WIDE = picture(0, 0, (40, 30))


def training(resolution: int = 16, **fields: Any) -> image_transforms.Transform:
    return image_transforms.training(Recipe(**fields), resolution=resolution, mean=MEAN)


def results(transform: image_transforms.Transform, image: Image.Image = WIDE, images: int = 20) -> list[Tensor]:
    torch.manual_seed(0)
    return [transform(image) for _ in range(images)]


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (40, 30), (level, level, level))


def columns() -> Image.Image:
    """Every pixel says its column in red and its row in green: 64 wide, 32 high."""
    row, column = np.meshgrid(range(32), range(64), indexing="ij")
    return Image.fromarray(np.stack([column, row, np.full_like(row, 99)], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (16, 16), (7, 90)])
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_every_image_becomes_a_square_of_bytes(augment: str, size: tuple[int, int]) -> None:
    for result in results(training(augment=augment), picture(0, 0, size), images=5):
        assert (result.shape, result.dtype) == ((3, 16, 16), torch.uint8)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_augmentation_follows_from_the_global_random_numbers(augment: str) -> None:
    transform = training(augment=augment, colour_jitter=0.4, lighting=0.1, random_erasing=0.5)
    first, again = results(transform), results(pickle.loads(pickle.dumps(transform)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({tuple(result.flatten().tolist()) for result in first}) > 10


def test_none_is_the_centre() -> None:
    for result in results(training(32, augment="none"), columns()):
        assert torch.equal(result, F.pil_to_tensor(columns())[:, :, 16:48])


@pytest.mark.parametrize(("augment", "mirrored"), [("crop", {False}), ("crop_flip", {True, False})])
def test_crops_of_the_padded_image(augment: str, mirrored: set[bool]) -> None:
    seen = set()
    for result in results(training(32, augment=augment), columns(), images=100):
        middle = result[:, 16].int()
        step = int(middle[0, 16] - middle[0, 15])
        seen.add(step < 0)
        assert abs(step) == 1
        assert set(result[2].unique().tolist()) <= {0, 99}
    assert seen == mirrored


def test_resized_crop_is_auto_and_mirrors() -> None:
    torch.manual_seed(1)
    slopes = []
    for result, auto in zip(results(training(augment="resized_crop"), columns(), 50),
                            results(training(augment="auto"), columns(), 50), strict=True):  # fmt: skip
        assert torch.equal(result, auto)
        across, down = (int(result[0, 0, -1]) - int(result[0, 0, 0]), int(result[1, -1, 0]) - int(result[1, 0, 0]))
        slopes.append((across, down))
    assert all(down > 0 for _, down in slopes)
    assert {across > 0 for across, _ in slopes} == {True, False}
    assert len(set(slopes)) > 20


@pytest.mark.parametrize("augment", ["trivial", "randaugment"])
def test_stronger_augmentation_is_applied_to_the_crop(augment: str) -> None:
    differences = []
    for seed in range(60):
        torch.manual_seed(seed)
        crop = training(augment="resized_crop")(WIDE)
        torch.manual_seed(seed)
        strong = training(augment=augment)(WIDE)
        differences.append(float((strong.int() - crop.int()).abs().float().mean()))
    assert min(differences) < 2
    assert sum(difference > 5 for difference in differences) > 20


def test_colour_jitter_changes_brightness_contrast_and_saturation() -> None:
    changed = [int(image[0, 0, 0]) for image in results(training(augment="none", colour_jitter=0.4), grey(100), 100)]
    assert 60 <= min(changed) < 75
    assert 125 < max(changed) <= 140
    spread = [float(image.float().std()) for image in results(training(augment="none", colour_jitter=0.4), WIDE, 50)]
    assert max(spread) > 1.3 * min(spread)


def test_erased_rectangles_are_zero_once_normalised() -> None:
    transform = training(augment="none", random_erasing=0.5)
    plain = training(augment="none")(WIDE)
    erased = [image for image in results(transform, images=60) if not torch.equal(image, plain)]
    assert 15 < len(erased) < 45
    for image in erased:
        colours = image[:, (image != plain).any(dim=0)].T.unique(dim=0)
        assert colours.tolist() == [[51, 102, 153]]


def test_lighting_shifts_along_the_components_of_colour() -> None:
    torch.manual_seed(0)
    middle = F.pil_to_tensor(grey(128))
    shifts = torch.stack([Lighting(std=0.5)(middle)[:, 0, 0].double() - 128 for _ in range(4000)]) / 255
    vectors = torch.tensor(image_transforms._VECTORS).double()
    assert torch.allclose(vectors.T @ vectors, torch.eye(3).double(), atol=1e-3)
    spread = (shifts @ vectors).std(dim=0) / 0.5
    assert spread[:2].tolist() == pytest.approx([0.2175, 0.0188], rel=0.05)
    assert shifts.mean(dim=0).abs().max() < 0.005


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (255, 255)])
def test_lighting_stays_within_bytes(level: int, expected: int) -> None:
    image = F.pil_to_tensor(grey(level))
    torch.manual_seed(0)
    colours = [int(Lighting(std=1.0)(image)[0, 0, 0]) for _ in range(50)]
    assert expected in colours
    assert all(abs(colour - level) < 200 for colour in colours)


@pytest.mark.parametrize(("resolution", "shorter"), [(224, 256), (28, 32), (176, 201)])
def test_evaluation_takes_the_centre_of_the_resized_image(resolution: int, shorter: int) -> None:
    image = picture(0, 0, (shorter + 30, shorter))
    top, left = round((shorter - resolution) / 2), round((shorter + 30 - resolution) / 2)
    expected = F.pil_to_tensor(image)[:, top : top + resolution, left : left + resolution]
    assert torch.equal(image_transforms.evaluation(resolution)(image), expected)
    larger = picture(0, 0, (2 * shorter, 3 * shorter))
    assert image_transforms.evaluation(resolution)(larger).shape == (3, resolution, resolution)
