from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqconv.networks.presets import PRESETS
from tests.training.tiny import CONFIG, TINY, split
from training.fidelity import Fidelity, check_resolution, costs, describe, fidelities
from training.trial import TrialConfig

GROWING = replace(CONFIG, share={1: 0.1, 3: 0.4}, resolution={1: 4, 2: 6, 4: 8})
SPLIT = replace(split(70), subsets={0.1: np.arange(17)})


def described(config: TrialConfig = CONFIG) -> str:
    return describe(fidelities(config, SPLIT, epochs=4), width=config.width, validated=1030, side=8)


def test_where_nothing_grows_every_epoch_has_all_images_as_they_are() -> None:
    assert fidelities(CONFIG, SPLIT, epochs=2) == [Fidelity(share=None, images=70, resolution=8)] * 2


def test_each_epoch_has_its_level() -> None:
    assert fidelities(GROWING, SPLIT, epochs=4) == [
        Fidelity(share=0.1, images=17, resolution=4),
        Fidelity(share=0.1, images=17, resolution=6),
        Fidelity(share=None, images=70, resolution=6),
        Fidelity(share=None, images=70, resolution=8),
    ]


def test_the_cost_of_an_epoch_is_that_of_its_pixels() -> None:
    epochs = fidelities(GROWING, SPLIT, epochs=4)
    assert costs(epochs, 30) == [81 * 16, 81 * 36, 240 * 36, 240 * 64]


def test_a_trial_is_described_by_what_is_not_as_ever() -> None:
    assert described() == "4 epochs of 70 images, validated on 1,030"
    assert described(replace(CONFIG, width=0.5, resolution=8)) == (
        "4 epochs of 70 images with 0.5 of the channels, validated on 1,030"
    )
    assert described(replace(CONFIG, resolution=4)) == "4 epochs of 70 images of 4x4 pixels, validated on 1,030"
    assert described(GROWING) == (
        "4 epochs of 17 images (70 from epoch 3) of 4x4 pixels (6x6 from epoch 2, 8x8 from epoch 4), validated on 1,030"
    )


def test_a_split_without_the_shares_of_the_trial_is_refused() -> None:
    problem = r"the split has no subset for trial.share 0.1: make it with split\(share=trial.share\)"
    with pytest.raises(ValueError, match=problem):
        fidelities(GROWING, split(), epochs=4)


def test_images_are_not_enlarged() -> None:
    check_resolution(replace(CONFIG, resolution={1: 4, 2: 8}), 8)
    with pytest.raises(ValueError, match=r"trial\.resolution must be at most 8, the images' own, got 9"):
        check_resolution(replace(CONFIG, resolution={1: 4, 2: 9}), 8)


@pytest.mark.parametrize(("preset", "least"), [("cifar_b_small", 4), ("seqresnet_b_small", 32)])
def test_every_stride_has_something_to_shrink(preset: str, least: int) -> None:
    networks = [TINY, PRESETS[preset]]
    check_resolution(replace(CONFIG, resolution=least), 64, networks)
    check_resolution(CONFIG, 2, networks)
    problem = (
        f"trial.resolution must be at least {least}, got {least - 1}: the strides of a network of "
        f"{len(PRESETS[preset].stages)} stages shrink images {least} times, and leave nothing of smaller ones"
    )
    with pytest.raises(ValueError) as error:
        check_resolution(replace(CONFIG, resolution={1: least - 1, 2: 40}), 64, networks)
    assert str(error.value) == problem
