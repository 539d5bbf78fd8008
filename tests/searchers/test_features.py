from __future__ import annotations

import math
from typing import Any

import pytest

from searchers.features import features
from seqconv import Architecture, Stage
from seqconv.networks.presets import PRESETS

PATTERNS = [
    4, "0.5G", "1G", "dense", "log", "harmonic", "regular", "group", "split", "dilated(4, 2)", "shuffle(2)",
    "random(seed=1, p=0.5)", [[0], [-1, 0, 1], [2], [3], [4], [5], [6], [7]],
]  # fmt: skip


def network(window: Any = "1G", *, widening: float = 1, pyramid: tuple[int, ...] = (1,), **fields: Any) -> Architecture:
    """Stages of groups of two channels, 8 in the first."""
    stage = Stage(**{"blocks": 1, "group_width": 2, "window": window, **fields})
    return Architecture(stages=(stage,) * len(pyramid), pyramid=pyramid, widening=widening)


def own(architecture: Architecture) -> dict[str, float]:
    """Of the first stage."""
    return {k.removeprefix("stage1."): v for k, v in features(architecture).items() if k.startswith("stage1.")}


@pytest.mark.parametrize("window", PATTERNS, ids=str)
def test_every_pattern_has_the_same_finite_features(window: Any) -> None:
    found = features(network(window))
    assert list(found) == list(features(network("dense", form="bottleneck", subgroups=2, blocks=3)))
    assert all(type(value) is float and math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_features(preset: str) -> None:
    assert all(math.isfinite(value) for value in features(PRESETS[preset]).values())


def test_what_a_window_reads() -> None:
    """Each of 8 steps reads the 2 groups before it; the first reads inputs alone, and 6 inputs are never read."""
    found = own(network(2))
    assert found["pairs"] == 16 / 64
    assert found["narrowest"] == found["widest"] == 1
    assert (found["mean_reach"], found["longest_reach"]) == (1.5 / 8, 2 / 8)
    assert found["from_input"] == 3 / 16
    assert found["unread"] == 6 / 8
    assert (found["serial"], found["depth"]) == (1, 3)
    assert found["weights"] == math.log2(4 * 16)


def test_what_a_regular_convolution_reads() -> None:
    found = own(network("regular"))
    assert (found["from_input"], found["unread"], found["serial"], found["depth"]) == (1, 0, 1 / 8, 0)
    assert found["pairs"] == 1


def test_sizes_and_form() -> None:
    found = own(network(group_width=4, blocks=3, form="bottleneck", subgroups=2))
    assert {name: found[name] for name in ("blocks", "groups", "group_width", "subgroups", "plain", "bottleneck")} == {
        "blocks": 3, "groups": 2, "group_width": 2, "subgroups": 1, "plain": 0, "bottleneck": 1
    }  # fmt: skip


def test_totals_are_over_blocks_and_stages() -> None:
    found = features(network(2, pyramid=(1, 2), blocks=2))
    first, second = 2 * 4 * 16, 2 * 4 * 32
    assert found["weights"] == math.log2(first + second)
    assert found["work"] == math.log2(first + second / 4)
    assert found["serial"] == math.log2(2 * 8 + 2 * 16)
    assert features(network(2, widening=2))["widening"] == 1


@pytest.mark.parametrize(
    ("one", "same"), [("dense", "2G"), ("1G", 8), ("0.5G", [[*range(i - 4, i)] for i in range(1, 9)])]
)
def test_two_ways_to_write_a_network_have_the_same_features(one: Any, same: Any) -> None:
    assert network(one).fingerprint() == network(same).fingerprint()
    assert features(network(one)) == features(network(same))
