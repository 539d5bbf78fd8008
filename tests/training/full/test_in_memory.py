from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.training.full.small import RECIPE, data, image_data
from training.data import channel_statistics, split
from training.full.in_memory import InMemory, InMemoryBatches
from training.full.recipe import Recipe

CPU = torch.device("cpu")
PLAIN = replace(RECIPE, augment="none")
Batch = tuple[Tensor, Tensor]


def opened(
    recipe: Recipe = RECIPE, images: InMemory | None = None, rank: int = 0, world: int = 1, seed: int = 0
) -> Any:
    return (images or data()).open(recipe, rank=rank, world=world, seed=seed, device=CPU)


def joined(batches: list[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def assert_same(batches: list[Batch], others: list[Batch]) -> None:
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert all(map(torch.equal, batch, other))


def known(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def pixels(batches: list[Batch], description: InMemory) -> list[tuple[bytes, int]]:
    """The images as they were before they were normalised, and their labels."""
    if not batches:
        return []
    images, labels = joined(batches)
    mean, std = (np.array(v)[:, None, None] for v in (description.mean, description.std))
    restored = (images.numpy() * std + mean) * 255
    assert np.abs(restored - restored.round()).max() < 1e-3
    return known(restored.round().astype(np.uint8), labels.numpy())


def test_it_trains_on_the_training_set_and_tests_on_the_test_set() -> None:
    source, description = image_data(64), data(64)
    batches = opened(PLAIN, description)
    assert pixels(list(batches.train(1)), description) == known(source.train_images, source.train_labels)
    assert pixels(list(batches.test()), description) == known(source.test_images, source.test_labels)
    assert (description.train_size, description.test_size) == (64, 30)


def test_the_part_for_validation_is_that_of_a_search() -> None:
    source = image_data()
    description, expected = InMemory(data=source, part="validation"), split(source, validation=0.2)
    batches = opened(replace(PLAIN, batch_size=56), description)
    assert (description.train_size, description.test_size) == (56, 14)
    train, tested = pixels(list(batches.train(1)), description), pixels(list(batches.test()), description)
    assert train == known(expected.train_images, expected.train_labels)
    assert tested == known(expected.validation_images, expected.validation_labels)


def test_it_describes_the_data() -> None:
    source, description = image_data(), data()
    assert (description.name, description.classes, description.resolution) == ("tiny", 3, 8)
    assert description.class_names == ("red", "green", "blue")
    assert description.source == source.source
    assert (description.mean, description.std) == channel_statistics(source.train_images)
    assert InMemory(data=source, part="validation").name == "tiny (validation)"
    assert InMemory(data=source, part="validation").mean != description.mean


def test_it_goes_between_processes() -> None:
    description = data()
    copy = pickle.loads(pickle.dumps(description))
    assert_same(list(opened(images=copy).train(2)), list(opened(images=description).train(2)))


@pytest.mark.parametrize(("images", "accumulate", "steps"), [(70, 1, 4), (70, 4, 16), (16, 2, 2), (31, 1, 1)])
def test_only_whole_batches_are_trained_on(images: int, accumulate: int, steps: int) -> None:
    batches = opened(replace(RECIPE, accumulate=accumulate), data(images))
    made = list(batches.train(1))
    assert len(made) == batches.steps == steps
    assert {len(labels) for _, labels in made} == {16 // accumulate}


@given(start=st.integers(0, 8), epoch=st.integers(1, 300), rank=st.integers(0, 1))
def test_an_epoch_goes_on_where_it_is_told_to(start: int, epoch: int, rank: int) -> None:
    batches = opened(replace(RECIPE, accumulate=2), rank=rank, world=2)
    assert_same(list(batches.train(epoch, start)), list(batches.train(epoch))[start:])


@pytest.mark.parametrize("augment", ["crop_flip", "none"])
@pytest.mark.parametrize(("accumulate", "world"), [(2, 1), (1, 2), (2, 2), (1, 4)])
def test_the_images_of_a_batch_do_not_depend_on_how_it_is_divided(augment: str, accumulate: int, world: int) -> None:
    recipe = replace(RECIPE, augment=augment)
    whole = list(opened(recipe).train(3))
    ranks = [opened(replace(recipe, accumulate=accumulate), rank=r, world=world) for r in range(world)]
    parts = [part for micro in zip(*(batches.train(3) for batches in ranks), strict=True) for part in micro]
    size = accumulate * world
    again = [joined(parts[start : start + size]) for start in range(0, len(parts), size)]
    assert_same(again, whole)


@given(images=st.integers(1, 40), world=st.integers(1, 5))
def test_every_test_image_comes_once_over_all_processes(images: int, world: int) -> None:
    source, recipe = image_data(70, images), replace(PLAIN, batch_size=60)
    description = InMemory(data=source)
    shares = [list(opened(recipe, description, rank=rank, world=world).test()) for rank in range(world)]
    seen = [image for share in shares for image in pixels(share, description)]
    assert sorted(seen) == known(source.test_images, source.test_labels)


def test_every_epoch_and_every_seed_has_another_order_and_other_crops() -> None:
    first, again, other, seeded = (
        joined(list(opened(seed=seed).train(epoch)))[0] for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, seeded)


@pytest.mark.parametrize(
    ("augment", "flip", "mirrored"),
    [("auto", True, True), ("auto", False, False), ("crop", True, False), ("crop_flip", False, True)],
)
def test_images_are_mirrored_where_that_keeps_their_meaning(augment: str, flip: bool, mirrored: bool) -> None:
    source = image_data(64, flip=flip)
    rising = np.broadcast_to(np.arange(8, dtype=np.uint8) * 30, source.train_images.shape)
    description = InMemory(data=replace(source, train_images=rising))
    images, _ = joined(list(opened(replace(RECIPE, augment=augment), description).train(1)))
    falls = (images[..., 4, 2:6].diff(dim=-1) < 0).all(dim=-1)
    assert falls.any() == mirrored


def test_images_are_cropped_from_padding_of_an_eighth() -> None:
    source = image_data(64)
    white = np.full_like(source.train_images, 255)
    description = InMemory(data=replace(source, train_images=white))
    images, _ = joined(list(opened(replace(RECIPE, augment="crop"), description).train(1)))
    black = (images < 0).all(dim=1).all(dim=2)
    assert black[:, 0].any() and black[:, 7].any()
    assert not black[:, 1:7].any()


@pytest.mark.parametrize(("channels_last", "layout"), [(True, torch.channels_last), (False, torch.contiguous_format)])
def test_batches_have_the_layout_and_the_types_of_the_network(channels_last: bool, layout: torch.memory_format) -> None:
    batches = opened(replace(RECIPE, channels_last=channels_last))
    for images, labels in (next(batches.train(1)), next(batches.test())):
        assert images.is_contiguous(memory_format=layout)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_random_numbers_of_the_caller_are_left_alone() -> None:
    before = torch.get_rng_state()
    batches = opened()
    list(batches.train(1)), list(batches.test()), batches.close()
    assert torch.equal(torch.get_rng_state(), before)
    assert batches.skipped == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"augment": "trivial"},
            "recipe.augment must be one of auto, crop_flip, crop, none for images in memory such as tiny, got "
            "'trivial'; the others are for images in files",
        ),
        (
            {"colour_jitter": 0.4},
            "recipe.colour_jitter must be 0 for images in memory such as tiny, got 0.4; it is for images in files",
        ),
        (
            {"lighting": 0.1},
            "recipe.lighting must be 0 for images in memory such as tiny, got 0.1; it is for images in files",
        ),
        (
            {"random_erasing": 0.5},
            "recipe.random_erasing must be 0 for images in memory such as tiny, got 0.5; it is for images in files",
        ),
        (
            {"resolution": 16},
            "recipe.resolution must be null or 8 for images in memory such as tiny, got 16; others are for images in "
            "files",
        ),
        (
            {"evaluation_resolution": 224},
            "recipe.evaluation_resolution must be null or 8 for images in memory such as tiny, got 224; others are for "
            "images in files",
        ),
        ({"batch_size": 71}, "recipe.batch_size is 71 and tiny has 70 training images: lower recipe.batch_size"),
    ],
)
def test_what_is_not_done_to_images_in_memory_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        opened(replace(RECIPE, **changes))
    assert str(error.value) == message


def test_their_own_resolution_may_be_named() -> None:
    assert isinstance(opened(replace(RECIPE, resolution=8, evaluation_resolution=8)), InMemoryBatches)


def test_another_part_is_refused() -> None:
    with pytest.raises(ValueError, match="part must be one of test, validation, got 'train'"):
        InMemory(data=image_data(), part="train")
