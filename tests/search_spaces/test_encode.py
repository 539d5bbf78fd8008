from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import pytest

from search_spaces.encode import encode
from search_spaces.knobs import Categorical
from search_spaces.space import every, sample
from search_spaces.staged import StagedSpace
from seqconv import Architecture, Stage, Window
from seqconv.networks.presets import PRESETS
from tests.search_spaces.examples import DELIVERED, categorical, delivered, integer, one_stage, real
from tests.searchers.algorithms.conformance import ToySpace


def stage(**fields: Any) -> Architecture:
    """One stage of 32 channels."""
    return Architecture(widening=2, pyramid=(1,), stages=(Stage(**{"blocks": 1, "group_width": 8, **fields}),))


def refusal(space: Any, architecture: Architecture) -> str:
    with pytest.raises(ValueError) as error:
        encode(space, architecture)
    return str(error.value)


@pytest.mark.parametrize("name", DELIVERED)
def test_it_is_the_inverse_of_decode(name: str) -> None:
    space, rng = delivered(name), random.Random(0)
    for _ in range(20):
        architecture = space.decode(sample(space, rng))
        assert space.decode(encode(space, architecture)).fingerprint() == architecture.fingerprint()
        from_file = Architecture.from_dict(architecture.canonical().to_dict())
        assert space.decode(encode(space, from_file)).fingerprint() == architecture.fingerprint()


@pytest.mark.parametrize(
    "window",
    [
        real(0.1, 2.3, step=0.1),
        real(0.01, 3.0),
        real(0.05, 4.0, log=True),
        integer(1, 9),
        integer(2, 10, step=4),
        integer(1, 1000, log=True),
        categorical(2, "dense", "0.25G", "log", "dilated(2, 2)", 100),
    ],
)
def test_every_kind_of_window(window: dict[str, Any]) -> None:
    """Many values make the same network; one of them is found, for what was written in another way too."""
    space, rng = one_stage(groups=categorical(2, 4, 8), window=window), random.Random(0)
    for _ in range(30):
        architecture = space.decode(sample(space, rng))
        values = encode(space, architecture.canonical())
        assert space.decode(values).fingerprint() == architecture.fingerprint()


def test_of_equal_windows_the_one_that_is_written_is_taken() -> None:
    space = one_stage(groups=4, window=real(0.25, 2.0, step=0.25))
    for ratio in (1.75, 2.0):
        assert encode(space, space.decode({"stage1.window": ratio})) == {"stage1.window": ratio}


def test_knobs_with_conditions_and_a_knob_of_the_widening() -> None:
    space = one_stage(
        widening=categorical(1, 2),
        form=categorical("plain", "bottleneck"),
        groups=categorical(2, 4),
        subgroups=categorical(1, 2, 4, when={"stage1.form": ["bottleneck"]}),
    )
    for values in every(space):
        assert encode(space, space.decode(values)) == values


def test_group_widths_and_pyramids_in_other_terms() -> None:
    space = StagedSpace(
        name="two",
        pyramid=(2, 4),
        widening=2,
        stage1={"blocks": integer(1, 3), "group_width": categorical(4, 8)},
        stage2={"blocks": 1, "groups": 4, "window": "dense"},
    )
    stages = (Stage(blocks=3, group_width=4), Stage(blocks=1, group_width=16, window=Window(groups=50)))
    assert encode(space, Architecture(widening=2, pyramid=(1, 2), stages=stages)) == {
        "stage1.blocks": 3,
        "stage1.group_width": 4,
    }


FIXED = {"blocks": 1, "groups": 4, "window": 2}


@pytest.mark.parametrize(
    ("fields", "architecture", "message"),
    [
        ({}, stage(blocks=2), "stage1.blocks is 2, and the space has 1"),
        ({"blocks": integer(1, 3)}, stage(blocks=4), "stage1.blocks is 4, and the space has 1 to 3"),
        (
            {"blocks": integer(1, 5, step=2)},
            stage(blocks=4),
            "stage1.blocks is 4, and the space has 1 to 5 in steps of 2",
        ),
        ({"groups": categorical(2, 8)}, stage(), "stage1.groups is 4, and the space has 2 or 8"),
        ({}, stage(form="bottleneck"), "stage1.form is bottleneck, and the space has plain"),
        ({}, stage(window=4), "stage1.window is 4, and the space has 2"),
        (
            {"window": real(0.5, 1.0, step=0.25)},
            stage(window="dense"),
            "stage1.window is dense, and the space has 0.5 to 1 G in steps of 0.25",
        ),
        ({"window": real(0.5, 1.0)}, stage(window=7), "stage1.window is 7, and the space has 0.5 to 1 G"),
        ({"window": real(0.5, 2.0)}, stage(window="log"), "stage1.window is log, and the space has 0.5 to 2 G"),
        (
            {"window": categorical(1, "dilated(2, 2)")},
            stage(window="log"),
            "stage1.window is log, and the space has 1 or dilated(2, 2)",
        ),
        ({"form": "bottleneck"}, stage(form="bottleneck", subgroups=2), "stage1.subgroups is 2, and the space has 1"),
        (
            {"window": integer(1, 9), "allow_unread": False},
            stage(window=2),
            "stage 1: a window of 2 leaves the oldest 2 of 4 input groups unread, which allow_unread=false forbids",
        ),
        ({}, replace(stage(), widening=4), "widening is 4, and the space has 2"),
        (
            {},
            Architecture(widening=2, pyramid=(1, 2), stages=stage().stages * 2),
            "pyramid is [1, 2], and the space has [1]",
        ),
        ({}, replace(stage(), family="imagenet"), "family is imagenet, and the space has cifar"),
    ],
)
def test_what_does_not_fit_is_named(fields: dict[str, Any], architecture: Architecture, message: str) -> None:
    assert refusal(one_stage(**{**FIXED, "window": 2, **fields}), architecture).startswith(message)


def test_a_window_of_a_pattern_that_the_groups_do_not_allow_does_not_fit() -> None:
    space = one_stage(groups=4, window=categorical("shuffle(3)", 2))
    assert encode(space, stage(window=2)) == {"stage1.window": 2}


def test_the_space_of_one_architecture() -> None:
    space = delivered("fixed")
    assert encode(space, PRESETS["cifar_b_small"]) == {}
    assert re.match(r"the space is of another network: W\d", refusal(space, PRESETS["cifar_plain"]))


def test_a_space_of_another_kind() -> None:
    space = ToySpace(name="toy", knobs=(Categorical(name="a", choices=(1, 2)),))
    assert refusal(space, stage()) == ("its knobs cannot be read off an architecture: those of a space of stages can")
