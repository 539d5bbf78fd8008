"""Where the kernels of the steps lie, and that nothing else does."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqconv.aggregation import DENSE, Log, Pattern, Regular, Window, parse_pattern
from seqconv.layers.packing import Layout, narrowed, pack_into, pieces, unpack
from seqconv.layers.schedule import Block, schedule
from seqconv.layers.seqconv import SeqConv2d
from tests.seqconv.layers.examples import random_tensors, randomised
from tests.seqconv.strategies import patterns


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    k, in_groups, out_groups = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 9))
    adjacency = draw(patterns(in_groups, out_groups)).adjacency(in_groups, out_groups)
    missing = draw(st.integers(0, k - 1)) if adjacency.reads_whole_input else 0
    return Layout(adjacency, k * in_groups - missing, k)


def blocks_of(layout: Layout, panel: int) -> list[Block]:
    panels = schedule(layout.adjacency, panel)
    return [block for panel in panels for block in (panel.wide, *panel.program) if isinstance(block, Block)]


def numbered(layout: Layout, kernel: tuple[int, int] = (1, 1)) -> Tensor:
    """A pack in which every weight is another number, and none is 0."""
    size = (layout.group_width, layout.packed, *kernel)
    return torch.arange(1, 1 + torch.Size(size).numel(), dtype=torch.float64).view(size)


@given(layouts())
def test_channels_are_the_groups_side_by_side(layout: Layout) -> None:
    in_groups, out_groups = layout.adjacency.in_groups, layout.adjacency.out_groups
    place = 0
    for column in range(in_groups + out_groups):
        width = layout.group_width if column else layout.in_channels - (in_groups - 1) * layout.group_width
        assert layout.channels(column) == slice(place, place + width)
        assert layout.width(column) == width
        for first in range(column + 1):
            assert layout.channels(first, column) == slice(layout.channels(first).start, place + width)
        place += width
    assert place == layout.in_channels + layout.out_channels
    assert [layout.column(group) for group in range(1 - in_groups, out_groups + 1)] == list(
        range(in_groups + out_groups)
    )


@given(layouts())
def test_kernels_lie_step_by_step(layout: Layout) -> None:
    place = 0
    for kernel, row in zip(layout.steps, layout.adjacency.sources, strict=True):
        length = sum(layout.width(layout.column(source)) for source in row)
        assert kernel == slice(place, place + length)
        place += length
    assert layout.packed == place


@given(layouts(), st.integers(1, 10), st.sampled_from([torch.contiguous_format, torch.channels_last]))
def test_packing_all_blocks_again_gives_the_pack(
    layout: Layout, panel: int, memory_format: torch.memory_format
) -> None:
    packed = numbered(layout, (3, 2))
    again = torch.zeros_like(packed)
    for block in blocks_of(layout, panel):
        weight = unpack(packed, layout, block, memory_format)
        assert weight.is_contiguous(memory_format=memory_format)
        pack_into(again, weight, layout, block)
    assert torch.equal(again, packed)


@given(layouts(), st.integers(1, 10))
def test_a_block_holds_what_its_steps_read_and_zeros(layout: Layout, panel: int) -> None:
    """Weight by weight."""
    packed, k = numbered(layout), layout.group_width
    for block in blocks_of(layout, panel):
        weight = unpack(packed, layout, block, torch.contiguous_format)
        expected = torch.zeros_like(weight)
        place = 0
        for column in block.columns:
            for row, step in enumerate(range(*block.steps)):
                sources = [layout.column(source) for source in layout.adjacency.sources[step]]
                if column in sources:
                    before = sum(map(layout.width, sources[: sources.index(column)]))
                    start = layout.steps[step].start + before
                    kernel = packed[:, start : start + layout.width(column)]
                    expected[row * k : (row + 1) * k, place : place + layout.width(column)] = kernel
            place += layout.width(column)
        assert torch.equal(weight, expected)


def test_what_is_packed_side_by_side_is_copied_at_once() -> None:
    layout = Layout(DENSE.adjacency(4, 4), 30, 8)
    assert len(pieces(layout, Block((0, 4), ((0, 4),)))) == 4
    assert len(pieces(layout, Block((2, 4), ((1, 4), (4, 6))))) == 2


def test_a_block_need_not_read_all_that_lies_between() -> None:
    """Of a dense layer's three input groups the oldest and the newest: side by side in the block, not in the pack."""
    layout = Layout(DENSE.adjacency(3, 2), 6, 2)
    packed, block = numbered(layout), Block((0, 2), ((0, 1), (2, 3)))
    first, second = packed[:, :6], packed[:, 6:]
    expected = torch.cat([torch.cat([kernel[:, :2], kernel[:, 4:6]], dim=1) for kernel in (first, second)])
    assert torch.equal(unpack(packed, layout, block, torch.contiguous_format), expected)


def layer_of(pattern: Pattern | str, *, in_channels: int = 10, out_channels: int = 10, **fields: Any) -> SeqConv2d:
    layer = SeqConv2d(in_channels, out_channels, group_width=2, pattern=pattern, norm=True, activation=True, **fields)
    randomised(layer.double())
    return layer


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("dense", 4),
        ("dense", "1G"),
        (5, 3),
        (3, 1),
        (6, 6),
        ("dense", "log"),
        ("dense", "regular"),
        ("random(1, 0.9)", "random(1, 0.4)"),
        ("dense", [[0], [-1, 1], [-1, 0], [0, 3], [1, 4]]),
    ],
)
@pytest.mark.parametrize("form", ["plain", "bottleneck"])
def test_a_narrowed_layer_is_the_wider_one_without_the_other_weights(wide: Any, narrow: Any, form: str) -> None:
    one, other = layer_of(wide, form=form), layer_of(narrow, form=form)
    name = "weight" if form == "plain" else "reduce_weight"
    packed = one.get_parameter(name).detach()
    cut = narrowed(packed, one.layout, other.layout)
    other.load_state_dict({**one.state_dict(), name: cut})

    kept = narrowed(torch.arange(packed.shape[1])[None], one.layout, other.layout)[0]
    assert len(set(kept.tolist())) == len(kept) == other.layout.packed
    unread = torch.ones(packed.shape[1], dtype=torch.bool)
    unread[kept] = False
    with torch.no_grad():
        one.get_parameter(name)[:, unread] = 0
    (x,) = random_tensors((2, 10, 4, 4))
    torch.testing.assert_close(other(x), one(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", ["plain", "bottleneck"])
def test_narrowing_an_input_that_is_not_whole_groups(form: str) -> None:
    one, other = (layer_of(pattern, in_channels=7, form=form) for pattern in ("dense", "regular"))
    name = "weight" if form == "plain" else "reduce_weight"
    packed = one.get_parameter(name).detach()
    by_hand = torch.cat([packed[:, kernel.start : kernel.start + 7] for kernel in one.layout.steps], dim=1)
    assert torch.equal(narrowed(packed, one.layout, other.layout), by_hand)


@given(layouts())
def test_narrowed_to_itself_is_itself(layout: Layout) -> None:
    packed = numbered(layout, (2, 2))
    assert torch.equal(narrowed(packed, layout, layout), packed)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 12), st.integers(1, 12))
def test_narrowing_in_two_steps(in_groups: int, out_groups: int, one: int, other: int) -> None:
    widths = sorted([one, other])
    dense, wide, narrow = (
        Layout(pattern.adjacency(in_groups, out_groups), 2 * in_groups, 2)
        for pattern in (DENSE, Window(groups=widths[1]), Window(groups=widths[0]))
    )
    packed = numbered(dense)
    halfway = narrowed(narrowed(packed, dense, wide), wide, narrow)
    assert torch.equal(halfway, narrowed(packed, dense, narrow))


@pytest.mark.parametrize(
    ("narrow", "message"),
    [
        (
            Layout(Log().adjacency(4, 4), 8, 2),
            "step 1 reads groups that it does not read in the wider layer: [-3, -1]",
        ),
        (
            Layout(parse_pattern([[0], [-3, 0], [2], [1, 2]]).adjacency(4, 4), 8, 2),
            "step 2 reads groups that it does not read in the wider layer: [-3]",
        ),
        (
            Layout(parse_pattern("dense").adjacency(4, 4), 16, 4),
            "both layers must have the same C_in, C_out and group width, got (8, 8, 2) and (16, 16, 4)",
        ),
        (
            Layout(Regular().adjacency(4, 3), 8, 2),
            "both layers must have the same C_in, C_out and group width, got (8, 8, 2) and (8, 6, 2)",
        ),
    ],
)
def test_narrowed_refuses(narrow: Layout, message: str) -> None:
    wide = Layout(parse_pattern([[0], [0, 1], [-2, 2], [1, 2, 3]]).adjacency(4, 4), 8, 2)
    with pytest.raises(ValueError) as error:
        narrowed(numbered(wide), wide, narrow)
    assert str(error.value) == message
