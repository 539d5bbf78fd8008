from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import ImageData, Proxy, channel_statistics, split, stratified_order

PROXY = Proxy(epochs=1, share=1.0, validation_limit=None)


def make(sizes: list[int], *, seed: int = 0) -> ImageData:
    """Classes of these sizes in a random order; each training image holds its own number in its first pixels."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int64)
    images = np.zeros((len(labels), 3, 8, 8), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(len(labels)), 256)
    return ImageData(
        name="made",
        train_images=images,
        train_labels=labels,
        test_images=np.full((len(sizes), 3, 8, 8), 255, np.uint8),
        test_labels=np.arange(len(sizes)),
        class_names=tuple(f"class {i}" for i in range(len(sizes))),
        source="made for the test",
        proxy=PROXY,
    )


def numbers(images: np.ndarray) -> list[int]:
    """Which training images these are."""
    return (images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1]).tolist()


def test_properties() -> None:
    data = make([4, 6, 5])
    assert (data.classes, data.resolution) == (3, 8)


def test_split_is_disjoint_complete_and_keeps_labels() -> None:
    data = make([300, 200, 100])
    parts = split(data, validation=0.1)
    train, held_out = numbers(parts.train_images), numbers(parts.validation_images)
    assert sorted(train + held_out) == list(range(600))
    assert data.train_labels[train].tolist() == parts.train_labels.tolist()
    assert data.train_labels[held_out].tolist() == parts.validation_labels.tolist()


def test_split_is_stratified() -> None:
    parts = split(make([300, 200, 100]), validation=0.1, share=0.5, validation_limit=30)
    assert np.bincount(parts.validation_labels).tolist() == [15, 10, 5]
    assert np.bincount(parts.train_labels).tolist() == [135, 90, 45]


def test_split_is_fixed_by_its_seed() -> None:
    data = make([300, 200, 100])
    first, again, other = (numbers(split(data, seed=seed).validation_images) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_order_does_not_change_between_releases() -> None:
    order = stratified_order(np.array([0, 1] * 6), seed=0)
    assert order.tolist() == [2, 3, 8, 7, 4, 5, 6, 11, 0, 9, 10, 1]


def test_shares_and_limits_are_nested() -> None:
    data = make([300, 200, 100, 7])
    parts = [split(data, share=share, validation_limit=limit) for share, limit in ((0.05, 5), (0.3, 20), (1.0, None))]
    trains = [set(numbers(part.train_images)) for part in parts]
    held_out = [set(numbers(part.validation_images)) for part in parts]
    assert trains[0] < trains[1] < trains[2]
    assert held_out[0] < held_out[1] < held_out[2]
    assert len(held_out[0]) == 5
    assert not held_out[2] & trains[2]


def test_split_does_not_see_the_test_set() -> None:
    data = make([30, 30])
    parts = split(data)
    other = split(replace(data, test_images=np.zeros_like(data.test_images)))
    assert parts.mean == other.mean
    assert max(parts.train_images.max(), parts.validation_images.max()) < 255


def test_split_copies() -> None:
    data = make([30, 30])
    split(data).train_images[:] = 7
    assert sorted(numbers(data.train_images)) == list(range(60))


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(2, 40), min_size=2, max_size=6), seed=st.integers(0, 1000))
def test_every_beginning_of_the_order_is_even(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    order = stratified_order(labels, seed=seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    for end in range(1, len(labels) + 1):
        taken = np.bincount(labels[order[:end]], minlength=len(sizes))
        assert end < len(sizes) or taken.all()
        assert np.abs(taken - end * np.array(sizes) / len(labels)).max() < len(sizes)


def test_statistics_are_those_of_the_train_part() -> None:
    data = make([300, 200, 100])
    images = np.random.default_rng(1).integers(0, 256, data.train_images.shape, dtype=np.uint8)
    parts = split(replace(data, train_images=images), share=0.5)
    pixels = parts.train_images / 255
    assert parts.mean == pytest.approx(pixels.mean(axis=(0, 2, 3)))
    assert parts.std == pytest.approx(pixels.std(axis=(0, 2, 3)))


def test_statistics_of_more_images_than_one_chunk() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2300, 3, 8, 8), dtype=np.uint8)
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)))
    assert std == pytest.approx((images / 255).std(axis=(0, 2, 3)))


def test_a_channel_that_never_changes_can_be_divided_by() -> None:
    assert channel_statistics(np.full((2, 3, 8, 8), 51, np.uint8)) == (pytest.approx((0.2,) * 3), (1 / 255,) * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": 0.0}, "validation must be a number above 0 and at most 0.5, got 0.0"),
        ({"validation": 0.6}, "validation must be a number above 0 and at most 0.5, got 0.6"),
        ({"share": 0}, "share must be a number above 0 and at most 1, got 0"),
        ({"share": 1.5}, "share must be a number above 0 and at most 1, got 1.5"),
        ({"validation_limit": 0}, "validation_limit must be an integer at least 1, got 0"),
        ({"seed": -1}, "split seed must be an integer at least 0, got -1"),
        ({"validation_limit": 1}, "the validation part of made has 1 images and none of class 'class 1'"),
        ({"validation": 0.01}, "the validation part of made has 0 images and none of class 'class 0'"),
        ({"share": 0.01}, "the train part of made has 0 images .*: raise share or lower validation"),
    ],
)
def test_split_refuses(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(make([20, 20]), **arguments)


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"the train part of made has 18 images and none of class 'class 1'"):
        split(make([20, 1]), validation=0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((4, 8, 8, 3), np.uint8)}, r"made: train images must be square uint8 NCHW .* \(4, "),
        ({"test_images": np.zeros((2, 3, 8, 8), np.float32)}, r"made: test images must be .*, got float32"),
        ({"train_labels": np.zeros(3, np.int64)}, r"made: train labels must be 4 int64 for 4 images, .* int64 \(3,\)"),
        ({"train_labels": np.zeros(4, np.int32)}, r"made: train labels must be 4 int64 .*, got int32"),
        ({"train_labels": np.array([0, 1, 2, 0])}, r"made: train labels must be from 0 to 1, got 0 to 2"),
        ({"test_labels": np.array([-1, 0])}, r"made: test labels must be from 0 to 1, got -1 to 0"),
        ({"test_images": np.zeros((2, 3, 9, 9), np.uint8)}, r"made: train and test images must be of one size"),
        (
            {"test_images": np.zeros((0, 3, 8, 8), np.uint8), "test_labels": np.zeros(0, np.int64)},
            r"made: test labels must be 0 int64 for 0 images, at least one",
        ),
    ],
)
def test_image_data_refuses(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(make([2, 2]), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "proxy epochs must be an integer at least 1, got 0"),
        ({"share": 2.0}, "share must be a number above 0 and at most 1, got 2.0"),
        ({"validation_limit": True}, "validation_limit must be an integer at least 1, got True"),
    ],
)
def test_proxy_refuses(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PROXY, **change)


def test_shares_that_grow_are_subsets_of_the_last_one() -> None:
    data = make([300, 200, 100])
    parts = split(data, share={1: 0.1, 3: 0.25, 4: 0.5})
    whole = split(data, share=0.5)
    assert numbers(parts.train_images) == numbers(whole.train_images)
    assert (parts.mean, parts.std) == (whole.mean, whole.std)
    assert set(parts.subsets) == {0.1, 0.25}
    assert whole.subsets == {}
    for share, chosen in parts.subsets.items():
        alone = split(data, share=share)
        assert numbers(parts.train_images[chosen]) == numbers(alone.train_images)
        assert parts.train_labels[chosen].tolist() == alone.train_labels.tolist()
    assert set(parts.subsets[0.1]) < set(parts.subsets[0.25])


def test_the_smallest_share_must_have_every_class() -> None:
    with pytest.raises(ValueError, match="the train part of made has 2 images and none of class 'class 2'"):
        split(make([100, 100, 100]), share={1: 0.008, 2: 1.0})
