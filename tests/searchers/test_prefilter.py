from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from searchers.prefilter import Prefilter, choose, remembered, scorer
from seqconv import Architecture, Stage, Window
from training.data import Split, stratified_order
from training.zero_cost.names import PROXIES
from training.zero_cost.scoring import Batch, score

NARROW, WIDE = (
    Architecture(stages=(Stage(blocks=1, group_width=8, window=Window(ratio=ratio)),), pyramid=(1,), widening=2)
    for ratio in (0.25, 2.0)
)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def split() -> Split:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), (5, 10, 15)).astype(np.int64)
    images = generator.integers(0, 256, (30, 3, 8, 8)).astype(np.uint8)
    for array in (labels, images):
        array.flags.writeable = False
    return Split(
        train_images=images,
        train_labels=labels,
        validation_images=images,
        validation_labels=labels,
        mean=MEAN,
        std=STD,
    )


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("name", "naswott", f"one of {', '.join(PROXIES)}"),
        ("name", "none", f"one of {', '.join(PROXIES)}"),
        ("ratio", 0, "an integer at least 1"),
        ("ratio", 2.5, "an integer at least 1"),
        ("batch_size", 3, "an integer at least 4"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError) as error:
        Prefilter(**{field: value})
    near = {"naswott": " (did you mean naswot?)"}
    assert str(error.value) == f"prefilter.{field} must be {allowed}, got {value!r}{near.get(value, '')}"


def test_by_default_there_is_none() -> None:
    assert Prefilter() == Prefilter(name=None, ratio=8, batch_size=32)


@pytest.mark.parametrize("name", PROXIES)
def test_every_proxy_is_allowed(name: str) -> None:
    assert Prefilter(name=name).name == name


def test_the_highest_score_is_chosen_and_the_first_of_equals() -> None:
    candidates = [("a", 1.0), ("b", 3.0), ("c", 3.0), ("d", -math.inf)]
    assert choose(candidates, lambda candidate: candidate[1]) == ("b", 3.0)
    assert choose(candidates[3:], lambda candidate: candidate[1]) == ("d", -math.inf)
    assert choose("xyz", lambda _: -math.inf) == "x"


def test_each_candidate_is_scored_once() -> None:
    asked: list[int] = []
    assert choose(iter([3, 5, 4]), lambda candidate: asked.append(candidate) or candidate) == 5  # type: ignore[func-returns-value]
    assert asked == [3, 5, 4]


def test_no_candidates_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        choose([], lambda _: 0.0)
    assert str(error.value) == "candidates must hold at least one"


def test_the_same_network_is_scored_once() -> None:
    asked: list[Architecture] = []

    def count(architecture: Architecture) -> float:
        asked.append(architecture)
        return float(len(asked))

    of = remembered(count)
    same = Architecture(stages=(Stage(blocks=1, group_width=8, window=Window(ratio=2.5)),), pyramid=(1,), widening=2)
    assert same != WIDE
    assert [of(WIDE), of(NARROW), of(same), of(WIDE)] == [1, 2, 1, 1]
    assert asked == [WIDE, NARROW]


def test_the_score_is_that_of_normalised_training_images_of_every_class() -> None:
    parts = split()
    of = scorer(Prefilter(name="snip", batch_size=6), parts, classes=3, seed=2)
    mean, std = (np.array(values)[:, None, None] for values in (MEAN, STD))
    normalised = (parts.train_images / 255 - mean) / std
    chosen = stratified_order(parts.train_labels, seed=2)[:6]
    assert sorted(parts.train_labels[chosen]) == [0, 1, 1, 2, 2, 2]
    batch = Batch(torch.tensor(normalised[chosen]).float(), torch.tensor(parts.train_labels[chosen]))
    expected = [score("snip", network, batch, classes=3, seed=2) for network in (NARROW, WIDE)]
    assert [of(NARROW), of(WIDE)] == pytest.approx(expected, rel=1e-4)
    assert expected[0] != pytest.approx(expected[1], rel=1e-2)


def test_it_chooses_among_architectures() -> None:
    of = scorer(Prefilter(name="params", batch_size=4), split(), classes=3, seed=0)
    assert choose([NARROW, WIDE, NARROW], of) is WIDE


def test_fewer_images_than_asked_for_are_enough() -> None:
    assert math.isfinite(scorer(Prefilter(name="naswot", batch_size=64), split(), classes=3, seed=0)(NARROW))
