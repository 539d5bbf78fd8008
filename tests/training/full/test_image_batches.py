from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.full.pictures import UNREADABLE, lay_out
from training.full.data import Batches
from training.full.image_batches import ImageBatches
from training.full.image_files import ImageFiles
from training.full.image_samples import EvaluationSamples
from training.full.recipe import Recipe

RECIPE = Recipe(epochs=2, batch_size=4, augment="trivial", resolution=16, colour_jitter=0.2, random_erasing=0.3)
Pairs = list[tuple[Tensor, Tensor]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "images", train=5, val=3)


def opened(
    root: Path, recipe: Recipe = RECIPE, *, workers: int = 0, rank: int = 0, world: int = 1, **fields: Any
) -> ImageBatches:
    files = ImageFiles(root=str(root), workers=workers, **fields)
    return files.open(recipe, rank=rank, world=world, seed=3, device=torch.device("cpu"))


def same(first: Pairs, second: Pairs) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(first, second, strict=True)
    )


def break_files(root: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (root / name).write_bytes(content)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_goes_on_in_the_middle_of_an_epoch_as_if_unbroken(workers: int, root: Path) -> None:
    unbroken = opened(root)
    first, second = list(unbroken.train(1)), list(unbroken.train(2))
    assert len(first) == len(second) == unbroken.steps == 3
    assert not same(first, second)
    for epoch, start, expected in ((1, 0, first), (1, 2, first[2:]), (2, 1, second[1:]), (2, 3, [])):
        torch.manual_seed(epoch)
        resumed = opened(root, workers=workers)
        list(islice(resumed.train(1), start))
        assert same(list(resumed.train(epoch, start)), expected)
        list(resumed.test())
        assert same(list(resumed.train(epoch, start)), expected)
        resumed.close()


def test_workers_are_closed(root: Path) -> None:
    batches = opened(root, workers=1)
    next(batches.train(1))
    next(batches.test())
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


def test_processes_share_the_batches_of_one(root: Path) -> None:
    recipe = replace(RECIPE, batch_size=8)
    alone = list(opened(root, recipe).train(1))
    halves = [list(opened(root, recipe, rank=rank, world=2).train(1)) for rank in (0, 1)]
    together = [tuple(torch.cat(parts) for parts in zip(*pair, strict=True)) for pair in zip(*halves, strict=True)]
    assert same(together, alone)  # type: ignore[arg-type]
    micro = list(opened(root, replace(recipe, accumulate=2)).train(1))
    assert same([tuple(map(torch.cat, zip(*micro, strict=True)))], alone)  # type: ignore[list-item]


def test_images_are_normalised(root: Path) -> None:
    plain = replace(RECIPE, augment="none", colour_jitter=0.0, random_erasing=0.0)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    (images, labels), *_ = opened(root, plain, mean=mean, std=std).train(1)
    pixels = images * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    assert (images.dtype, labels.dtype, images.shape) == (torch.float32, torch.int64, (4, 3, 16, 16))
    assert torch.allclose(255 * pixels, (255 * pixels).round(), atol=1e-3)
    assert 0 <= pixels.min() < pixels.max() <= 1
    assert torch.equal(pixels.mean(dim=(2, 3)).argmax(1), labels)


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_come_in_the_layout_of_the_recipe(channels_last: bool, root: Path) -> None:
    batches = opened(root, replace(RECIPE, channels_last=channels_last))
    for images in (next(batches.train(1))[0], next(batches.test())[0]):
        assert images.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert images.is_contiguous() != channels_last


@pytest.mark.parametrize(
    ("fields", "argument", "trained", "tested"),
    [
        ({}, None, 16, 16),
        ({"resolution": None}, None, 40, 40),
        ({"evaluation_resolution": 24}, None, 16, 24),
        ({"evaluation_resolution": 24}, 32, 16, 32),
    ],
)
def test_resolutions(fields: dict[str, Any], argument: int | None, trained: int, tested: int, root: Path) -> None:
    batches = opened(root, replace(RECIPE, **fields), resolution=40)
    assert next(batches.train(1))[0].shape == (4, 3, trained, trained)
    assert next(batches.test(argument))[0].shape == (4, 3, tested, tested)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_test_image_is_tested_once(world: int, root: Path) -> None:
    recipe = replace(RECIPE, batch_size=8)
    processes = [opened(root, recipe, rank=rank, world=world) for rank in range(world)]
    tested = [list(batches.test()) for batches in processes]
    assert Counter(torch.cat([labels for _, labels in chain(*tested)]).tolist()) == {0: 3, 1: 3, 2: 3}
    assert len({tuple(image.flatten().tolist()) for images, _ in chain(*tested) for image in images}) == 9
    assert same(list(processes[0].test()), tested[0])


def test_two_resolutions_in_turn(root: Path) -> None:
    batches = opened(root, workers=1)
    for resolution in (16, 17, 16):
        assert [len(images) for images, _ in batches.test(resolution)] == [4, 4, 1]
        assert next(batches.test(resolution))[0].shape[2:] == (resolution, resolution)
    batches.close()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("content", UNREADABLE)
def test_an_unreadable_image_stops_the_training(content: str, workers: int, root: Path) -> None:
    break_files(root, "train/green/2.jpg", "val/red/1.jpg", content=UNREADABLE[content])
    batches = opened(root, workers=workers)
    expected = r"\.jpg: .*(it to 8 bits|repair or remove it), or pass dataset\.on_error=skip to leave such images out$"
    with pytest.raises(ValueError, match=f"train/green/2{expected}"):
        list(chain(batches.train(1), batches.train(2)))
    with pytest.raises(ValueError, match=f"val/red/1{expected}"):
        list(batches.test())
    batches.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_left_out_and_counted(workers: int, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = list(opened(root, replace(RECIPE, batch_size=15)).train(1))
    for number, content in enumerate(UNREADABLE.values()):
        break_files(root, f"train/green/{number}.jpg", content=content)
    break_files(root, "val/blue/0.jpg", "val/red/1.jpg")
    batches = opened(root, replace(RECIPE, batch_size=15), workers=workers, on_error="skip")
    with caplog.at_level(logging.WARNING):
        ((images, labels),) = first = list(batches.train(1))
        assert (batches.skipped, len(images), len(caplog.messages)) == (4, 15, 4)
        assert torch.bincount(labels).tolist() == [5, 5, 5]
        kept = (images == whole[0][0]).flatten(1).all(1)
        assert kept.sum() == 11
        list(batches.train(2))
        assert [labels.tolist() for _, labels in batches.test()] == [[0, 0, 1, 1, 1, 2, 2]]
    assert batches.skipped == 10
    assert len(caplog.messages) == 6
    assert caplog.messages[-1].startswith(f"left out: {root / 'val' / 'red' / '1.jpg'}: cannot be read as an image")
    batches.close()
    again = opened(root, replace(RECIPE, batch_size=15), on_error="skip")
    assert same(list(again.train(1)), first)


def test_a_batch_of_unreadable_test_images_is_left_out(root: Path) -> None:
    break_files(root, *(f"val/{name}/{number}.jpg" for name in ("blue", "green") for number in range(3)))
    assert [labels.tolist() for _, labels in opened(root, on_error="skip").test()] == [[2, 2], [2]]


def test_no_test_image_can_be_read(root: Path) -> None:
    for path in root.glob("val/*/*"):
        path.unlink()
        path.symlink_to("nowhere")
    batches = opened(root, on_error="skip")
    with pytest.raises(ValueError, match="val: none of the images can be read"):
        list(batches.test())
    assert batches.skipped == 9


def test_no_training_image_can_be_read(root: Path) -> None:
    break_files(root, *(f"train/{path.parent.name}/{path.name}" for path in root.glob("train/*/*")))
    with pytest.raises(ValueError, match=r"\.jpg: cannot be read as an image .*; nor can the files after it be read$"):
        next(opened(root, on_error="skip").train(1))


def test_a_process_without_a_share_of_the_test_images(root: Path) -> None:
    recipe = replace(RECIPE, batch_size=20)
    lay_out(root / "more", train=9, val=1)
    shares = [list(opened(root / "more", recipe, rank=rank, world=10).test()) for rank in range(10)]
    assert [len(share) for share in shares] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("fields", "world", "message"),
    [
        ({"batch_size": 16}, 1, "recipe.batch_size is 16 and folder has 15 training images: lower recipe.batch_size"),
        (
            {"batch_size": 10},
            4,
            r"recipe.batch_size must be a multiple of 4 \(4 processes x 1 micro-batches\) .*got 10",
        ),
        ({"batch_size": 12, "accumulate": 3}, 2, r"multiple of 6 \(2 processes x 3 micro-batches\) with at least two"),
    ],
)
def test_batches_that_cannot_be_made(fields: dict[str, Any], world: int, message: str, root: Path) -> None:
    if "accumulate" in fields:
        fields = {**fields, "batch_size": 9}
    with pytest.raises(ValueError, match=message):
        opened(root, replace(RECIPE, **fields), world=world)


def test_the_protocol_is_kept(root: Path) -> None:
    batches: Batches = opened(root)
    assert (batches.steps, batches.skipped) == (3, 0)
    assert isinstance(batches.train(1), Iterator)


def test_real_images(imagenette_root: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=16, augment="resized_crop", resolution=64, evaluation_resolution=64)
    batches = opened(imagenette_root, recipe, workers=2, held_out=False)
    images, labels = next(batches.train(1))
    assert images.shape == (16, 3, 64, 64)
    assert labels.unique().numel() > 1
    tested = list(batches.test())
    counted = torch.bincount(torch.cat([labels for _, labels in tested]))
    assert len(counted) == 10
    assert counted.unique().numel() == 1
    values = torch.cat([images for images, _ in tested])
    assert values.mean().abs() < 0.3
    assert 0.7 < values.std() < 1.3
    batches.close()


def test_evaluation_samples_know_no_augmentation(root: Path) -> None:
    batches = opened(root)
    expected = EvaluationSamples(files=batches.files.folders.test)[16, 0].image_CHW
    mean, std = (255 * torch.tensor(v)[:, None, None] for v in (batches.files.mean, batches.files.std))
    image = next(batches.test())[0][0]
    assert torch.allclose(image * std + mean, expected.float(), atol=1e-3)
