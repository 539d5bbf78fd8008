from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.full.pictures import CLASSES, lay_out, picture
from training.datasets.class_folders import find
from training.full import image_samples, image_transforms
from training.full.image_samples import EvaluationSamples, TrainSamples, collate
from training.full.recipe import Recipe


def samples(root: Path, *, seed: int = 0, **fields: Any) -> TrainSamples:
    transform = image_transforms.training(Recipe(**fields), resolution=16, mean=(0.5, 0.5, 0.5))
    return TrainSamples(files=find(root).train, transform=transform, resolution=16, seed=seed)


def test_what_an_image_becomes_follows_from_seed_epoch_and_index(tmp_path: Path) -> None:
    lay_out(tmp_path)
    same = [samples(tmp_path, augment="trivial", random_erasing=0.5)[1, 5] for _ in range(3)]
    torch.manual_seed(7)
    same.append(samples(tmp_path, augment="trivial", random_erasing=0.5)[1, 5])
    assert all(torch.equal(sample.image_CHW, same[0].image_CHW) for sample in same)
    one = lay_out(tmp_path / "one", train=1, classes=["a", "b"])
    for number in (0, 1):
        picture(0, 0).save(one / "train" / "ab"[number] / "0.jpg")
    other = [samples(one)[1, 0], samples(one)[2, 0], samples(one)[1, 1], samples(one, seed=1)[1, 0]]
    assert len({tuple(sample.image_CHW.flatten().tolist()) for sample in other}) == 4


def test_the_caller_keeps_its_random_numbers(tmp_path: Path) -> None:
    train = samples(lay_out(tmp_path), augment="trivial")
    before = torch.get_rng_state()
    train[1, 0]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_samples_are_channels_of_pixels(kind: str, tmp_path: Path) -> None:
    lay_out(tmp_path, kind=kind)
    test = EvaluationSamples(files=find(tmp_path).test)
    for sample, size in ((samples(tmp_path)[1, 4], 16), (test[24, 2], 24)):
        assert (sample.image_CHW.shape, sample.image_CHW.dtype) == ((3, size, size), torch.uint8)
        assert (sample.label, sample.problem) == (1, "")
        assert sample.image_CHW.float().mean(dim=(1, 2)).argmax() == 1


def test_an_unreadable_training_image_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    lay_out(tmp_path)
    broken = [tmp_path / "train" / CLASSES[0] / f"{number}.jpg" for number in (2, 3)]
    for path in broken:
        path.write_bytes(b"")
    train = samples(tmp_path)
    sample = train[1, 2]
    assert sample.problem.startswith(f"{broken[0]}: cannot be read as an image")
    assert sample.label == 1
    assert sample.image_CHW.float().mean(dim=(1, 2)).argmax() == 1
    assert torch.equal(train[1, 2].image_CHW, sample.image_CHW)
    assert not torch.equal(train[1, 3].image_CHW, sample.image_CHW)


def test_the_first_image_comes_after_the_last_one(tmp_path: Path) -> None:
    lay_out(tmp_path)
    (tmp_path / "train" / CLASSES[2] / "3.jpg").write_bytes(b"")
    assert samples(tmp_path)[1, 11].label == 0


def test_too_many_unreadable_images_in_a_row_are_not_replaced(tmp_path: Path) -> None:
    lay_out(tmp_path, train=image_samples.NEIGHBOURS + 1)
    for path in (tmp_path / "train" / CLASSES[1]).iterdir():
        path.write_bytes(b"")
    train = samples(tmp_path)
    first = image_samples.NEIGHBOURS + 1
    assert train[1, first + 1].label == 2
    sample = train[1, first]
    assert (sample.label, sample.image_CHW.shape) == (image_samples.UNREADABLE, (3, 16, 16))
    assert "0.jpg: cannot be read" in sample.problem


def test_an_unreadable_test_image_is_not_replaced(tmp_path: Path) -> None:
    lay_out(tmp_path)
    (tmp_path / "val" / CLASSES[0] / "1.jpg").write_bytes(b"")
    test = EvaluationSamples(files=find(tmp_path).test)
    assert (test[24, 1].label, test[24, 1].image_CHW.shape) == (image_samples.UNREADABLE, (3, 24, 24))
    assert "1.jpg: cannot be read" in test[24, 1].problem


def test_samples_become_a_batch(tmp_path: Path) -> None:
    lay_out(tmp_path)
    (tmp_path / "train" / CLASSES[0] / "1.jpg").write_bytes(b"")
    train = samples(tmp_path)
    batch = collate([train[1, index] for index in (0, 1, 8)])
    assert (batch.images_NCHW.shape, batch.images_NCHW.dtype) == ((3, 3, 16, 16), torch.uint8)
    assert torch.equal(batch.images_NCHW[2], train[1, 8].image_CHW)
    assert (batch.labels.tolist(), batch.labels.dtype) == ([0, 0, 2], torch.int64)
    assert [problem.partition(":")[0] for problem in batch.problems] == [str(tmp_path / "train" / "blue" / "1.jpg")]
