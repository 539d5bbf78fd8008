from __future__ import annotations

import numpy as np
import pytest

from training.datasets import Digits


@pytest.mark.parametrize("resolution", [16, 32])
def test_all_digits_are_there_once(resolution: int) -> None:
    from sklearn.datasets import load_digits

    data = Digits(resolution=resolution).load()
    assert (data.name, data.classes, data.resolution) == ("digits", 10, resolution)
    assert data.class_names == tuple("0123456789")
    images = np.concatenate([data.train_images, data.test_images])
    labels = np.concatenate([data.train_labels, data.test_labels])
    original = load_digits()
    assert np.bincount(labels).tolist() == np.bincount(original.target).tolist()
    # Averages over the pixels of a drawing come close to the pixels that were enlarged.
    factor = resolution // 8
    small = images[:, 0].reshape(-1, 8, factor, 8, factor).mean(axis=(2, 4)) * 16 / 255
    nearest = np.abs(small[:50, None] - original.images[None]).sum(axis=(2, 3)).argmin(axis=1)
    assert original.target[nearest].tolist() == labels[:50].tolist()
    assert len(set(nearest.tolist())) == 50


def test_drawing() -> None:
    data = Digits().load()
    assert data.train_images.min() == 0
    assert data.train_images.max() == 255
    assert np.array_equal(data.train_images[:, 0], data.train_images[:, 2])
    assert data.proxy == Digits.proxy
    assert data.source == "digits, 1,797 handwritten digits of scikit-learn drawn at 16 pixels"


def test_test_set_is_a_fifth_of_each_digit_and_fixed() -> None:
    data, again = Digits().load(), Digits().load()
    assert len(data.test_images) == 359
    share = np.bincount(data.test_labels) / np.bincount(np.concatenate([data.train_labels, data.test_labels]))
    assert np.abs(share - 0.2).max() < 0.01
    assert np.array_equal(data.test_images, again.test_images)


@pytest.mark.parametrize("resolution", [8, 64, "16"])
def test_other_resolutions_are_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match=r"dataset\.resolution must be one of 16, 32, got"):
        Digits(resolution=resolution)
