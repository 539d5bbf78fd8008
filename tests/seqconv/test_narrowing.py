"""What is kept, and which widths are chosen, against the rule written out as a search through all of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import seqconv
from seqconv.architecture import Architecture, Stage
from seqconv.narrowing import narrowed
from seqconv.networks.presets import PRESETS
from tests.seqconv.strategies import architectures

shares = st.floats(0.01, 1)


def blocks_read(architecture: Architecture) -> list[object]:
    with torch.device("meta"):
        model = seqconv.build(architecture, classes=10)
    blocks = [part for name, part in model.named_children() if "block" in name]
    return [(layer.adjacency, layer.form, layer.groups) for block in blocks for layer in (block.layer_a, block.layer_b)]


@settings(max_examples=30, deadline=None)
@given(architectures(any_pattern=True), shares)
def test_genes_are_kept(architecture: Architecture, share: float) -> None:
    narrow = narrowed(architecture, share)
    assert narrow.groups == architecture.groups
    assert narrow.family == architecture.family
    for stage, searched in zip(narrow.stages, architecture.stages, strict=True):
        assert stage == replace(searched, group_width=stage.group_width)
        assert stage.group_width <= searched.group_width


@settings(max_examples=5, deadline=None)
@given(architectures(any_pattern=True), shares)
def test_the_steps_of_its_blocks_read_what_they_read(architecture: Architecture, share: float) -> None:
    assert blocks_read(narrowed(architecture, share)) == blocks_read(architecture)


@settings(max_examples=20, deadline=None)
@given(architectures(any_pattern=True))
def test_the_whole_is_the_same_network(architecture: Architecture) -> None:
    assert narrowed(architecture, 1).fingerprint() == architecture.fingerprint()
    assert narrowed(architecture, None) is architecture


@pytest.mark.parametrize("preset", PRESETS)
def test_a_half_that_the_groups_allow_is_exact(preset: str) -> None:
    architecture = PRESETS[preset]
    assert narrowed(architecture, 0.5).widths == tuple(width // 2 for width in architecture.widths)


@settings(max_examples=20, deadline=None)
@given(architectures(any_pattern=True, pyramids=((1, 2), (1, 3))), shares)
def test_no_widths_are_nearer(architecture: Architecture, share: float) -> None:
    def off(other: Architecture) -> float:
        pairs = zip(other.widths, architecture.widths, strict=True)
        return sum(math.log(width / (share * searched)) ** 2 for width, searched in pairs)

    best = min(map(off, all_narrow(architecture)))
    assert off(narrowed(architecture, share)) == pytest.approx(best, abs=1e-12)


def all_narrow(architecture: Architecture) -> Iterator[Architecture]:
    for group_widths in itertools.product(*(range(1, stage.group_width + 1) for stage in architecture.stages)):
        widths = [k * groups for k, groups in zip(group_widths, architecture.groups, strict=True)]
        try:
            yield Architecture(
                stages=tuple(
                    replace(stage, group_width=k) for stage, k in zip(architecture.stages, group_widths, strict=True)
                ),
                widening=widths[0] / 16,
                pyramid=tuple(widths),
            )
        except ValueError:
            continue


def test_a_group_keeps_a_channel_and_a_stage_stays_wider_than_the_one_before() -> None:
    """Groups of one channel cannot lose any: the second stage has to stay wider than the 16 channels of the first."""
    stages = (Stage(blocks=1, group_width=1), Stage(blocks=1, group_width=16), Stage(blocks=1, group_width=16))
    architecture = Architecture(stages=stages, widening=1)
    assert narrowed(architecture, 0.1).widths == (16, 18, 36)


def test_a_narrow_network_trains() -> None:
    model = seqconv.build(narrowed(PRESETS["cifar_b_demo"], 0.3), classes=3)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan"), True, "0.5"])
def test_other_shares_are_refused(share: float) -> None:
    problem = "share of the channels must be a number above 0 and at most 1, got"
    with pytest.raises(ValueError, match=problem):
        narrowed(PRESETS["cifar_b_small"], share)
