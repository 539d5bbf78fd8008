"""How far back layers read, of weights that end at a known distance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqconv import Architecture, Stage, build
from seqconv.aggregation import DENSE, Window, parse_pattern
from seqconv.layers.seqconv import SeqConv2d
from seqconv.reach import reach, stage_reach
from seqconv.utilisation import utilisation, utilisations

NAN = math.nan


def cut(layer: SeqConv2d, distance: int) -> None:
    """Make the weights zero with which a step reads what lies farther back."""
    k, column = layer.group_width, 0
    weight = layer.weight if layer.reduce_weight is None else layer.reduce_weight
    with torch.no_grad():
        weight.fill_(1.0)
        for step, row in enumerate(layer.adjacency.sources, start=1):
            for source in row:
                if step - source > distance:
                    weight[:, column : column + k] = 0
                column += k


def one_by_one(layer: Tensor, share: float) -> int:
    """The definition, window by window."""
    steps, columns = layer.shape
    in_groups = columns - steps
    pairs = [(i, j) for i in range(1, steps + 1) for j in range(1 - in_groups, i)]
    cells = [(i - j, float(layer[i - 1, j + in_groups - 1])) for i, j in pairs]
    total = sum(weight for _, weight in cells)
    kept = (sum(weight for distance, weight in cells if distance <= window) for window in range(1, columns + 1))
    return next(window for window, weight in enumerate(kept, start=1) if weight >= share * total * (1 - 1e-9))


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 1.0), st.integers(0, 10_000))
def test_it_is_the_smallest_window_that_keeps_the_share(in_groups: int, steps: int, share: float, seed: int) -> None:
    layer = torch.rand(steps, in_groups + steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for row in range(steps):
        layer[row, in_groups + row :] = NAN
    assert reach(layer, share) == one_by_one(layer.nan_to_num(), share)


@pytest.mark.parametrize("form", ["plain", "bottleneck"])
@pytest.mark.parametrize("distance", [1, 3, 4, 6, 7])
def test_weights_that_end_at_a_distance(form: str, distance: int) -> None:
    """Four groups before and four of its own: the last step reads seven."""
    layer = SeqConv2d(8, 8, group_width=2, pattern="dense", form=form)
    cut(layer, distance)
    assert reach(utilisation(layer), 1.0) == distance


def test_equal_weights_by_hand() -> None:
    """Steps of a dense layer with G = g = 2 read 2 and 3 groups: 2, 2 and 1 cells at the distances 1, 2 and 3."""
    layer = torch.tensor([[1, 1, NAN, NAN], [1, 1, 1, NAN]], dtype=torch.float64)
    assert [reach(layer, share) for share in (0.4, 0.41, 0.8, 0.81, 0.95, 1.0)] == [1, 2, 2, 3, 3, 3]


def test_a_layer_without_weight_reads_nothing() -> None:
    assert reach(torch.tensor([[0.0, NAN]])) is None
    assert reach(torch.tensor([[NAN, NAN]])) is None


@pytest.mark.parametrize("share", [0, 1.01, NAN])
def test_a_share_out_of_range(share: float) -> None:
    with pytest.raises(ValueError, match="share must be a number above 0 and at most 1, got"):
        reach(torch.ones(1, 2), share)


def test_a_stage_reads_as_far_as_the_farthest_of_its_layers() -> None:
    """The layer that grows to the width of stage 2 has the window of stage 1; the head, dense, has no stage."""
    stages = (Stage(blocks=2, group_width=4, window=DENSE), Stage(blocks=1, group_width=8, window=Window(ratio=1)))
    architecture = Architecture(stages=stages, widening=1, pyramid=(1, 2))
    model = build(architecture, classes=3)
    layers = dict(model.named_modules())
    distances = {"head.layer": 7, "stage1_block1.layer_a": 2, "stage1_block1.layer_b": 1, "stage1_block2.layer_a": 3,
                 "stage1_block2.layer_b": 2, "stage2_down.extension": 1, "stage2_block1.layer_a": 1,
                 "stage2_block1.layer_b": 2}  # fmt: skip
    assert distances.keys() == utilisations(model).keys()
    for name, distance in distances.items():
        layer = layers[name]
        assert isinstance(layer, SeqConv2d)
        cut(layer, distance)
    assert stage_reach(architecture, utilisations(model), 1.0) == [3, 2]
    extension = layers["stage2_down.extension"]
    assert isinstance(extension, SeqConv2d)
    cut(extension, 4)
    assert stage_reach(architecture, utilisations(model), 1.0) == [4, 2]


def test_what_has_no_window_and_what_has_no_weight_has_no_reach() -> None:
    stages = (Stage(blocks=1, group_width=4, window=parse_pattern("log")), Stage(blocks=1, group_width=8, window=DENSE))
    architecture = Architecture(stages=stages, widening=1, pyramid=(1, 2))
    model = build(architecture, classes=3)
    assert stage_reach(architecture, utilisations(model)) == [None, 6]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("stage2_block"):
                weight.zero_()
    assert stage_reach(architecture, utilisations(model)) == [None, None]
