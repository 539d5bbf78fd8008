"""The order of the blocked plan: everything is read once, after it is finished, and before its reader is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqconv.adjacency import Adjacency
from seqconv.aggregation import DENSE, Group, Regular, Shuffle, Window, parse_pattern
from seqconv.layers.schedule import LANES, PANELS, TRAFFIC, Block, Panel, cheapest_panel, schedule
from tests.seqconv.strategies import patterns


@st.composite
def adjacencies(draw: st.DrawFn) -> Adjacency:
    in_groups, out_groups = draw(st.integers(1, 9)), draw(st.integers(1, 20))
    return draw(patterns(in_groups, out_groups)).adjacency(in_groups, out_groups)


panel_sizes = st.integers(1, 24)


def blocks_of(panel: Panel) -> list[Block]:
    return [panel.wide, *(item for item in panel.program if isinstance(item, Block))]


@given(adjacencies(), panel_sizes)
def test_panels_are_the_steps_in_order(adjacency: Adjacency, size: int) -> None:
    panels = schedule(adjacency, size)
    bounds = [panel.steps for panel in panels]
    assert bounds == [
        (start, min(start + size, adjacency.out_groups)) for start in range(0, adjacency.out_groups, size)
    ]
    for panel in panels:
        assert panel.wide.steps == panel.steps
        assert [item for item in panel.program if isinstance(item, int)] == list(range(*panel.steps))


@given(adjacencies(), panel_sizes)
def test_every_pair_of_step_and_source_is_in_exactly_one_block(adjacency: Adjacency, size: int) -> None:
    pairs = [
        (step, column)
        for panel in schedule(adjacency, size)
        for block in blocks_of(panel)
        for step in range(*block.steps)
        for column in block.columns
    ]
    assert len(set(pairs)) == len(pairs)
    wanted = {(step, source + adjacency.in_groups - 1) for step, row in enumerate(adjacency.sources) for source in row}
    assert wanted <= set(pairs)


@given(adjacencies(), panel_sizes)
def test_no_block_gathers_what_none_of_its_steps_reads(adjacency: Adjacency, size: int) -> None:
    for block in (block for panel in schedule(adjacency, size) for block in blocks_of(panel)):
        read = {source + adjacency.in_groups - 1 for row in adjacency.sources[slice(*block.steps)] for source in row}
        assert block.columns
        assert set(block.columns) <= read


@given(adjacencies(), panel_sizes)
def test_a_block_reads_finished_steps_and_serves_unfinished_ones(adjacency: Adjacency, size: int) -> None:
    finished: set[int] = set()
    for panel in schedule(adjacency, size):
        for item in (panel.wide, *panel.program):
            if isinstance(item, int):
                finished.add(item)
                continue
            outputs = {column - adjacency.in_groups for column in item.columns if column >= adjacency.in_groups}
            assert outputs <= finished
            assert finished.isdisjoint(range(*item.steps))
            assert panel.steps[0] <= item.steps[0] < item.steps[1] <= panel.steps[1]
    assert finished == set(range(adjacency.out_groups))


@given(adjacencies(), panel_sizes)
def test_runs_ascend_and_never_mix_inputs_with_outputs(adjacency: Adjacency, size: int) -> None:
    for block in (block for panel in schedule(adjacency, size) for block in blocks_of(panel)):
        assert block.columns == sorted(set(block.columns))
        for start, stop in block.sources:
            assert start < stop
            assert stop <= adjacency.in_groups or start >= adjacency.in_groups
        for (_, stop), (start, _) in zip(block.sources, block.sources[1:], strict=False):
            assert stop < start or stop == start == adjacency.in_groups, "adjoining runs are one"


@given(adjacencies(), panel_sizes)
def test_blocks_are_nested(adjacency: Adjacency, size: int) -> None:
    """What a step has read so far is always some channels of one sum: of two blocks, one serves all the other does."""
    for panel in schedule(adjacency, size):
        blocks = [set(range(*block.steps)) for block in blocks_of(panel)]
        for place, one in enumerate(blocks):
            for later in blocks[place + 1 :]:
                assert later < one or one.isdisjoint(later)


def test_a_dense_layer_of_four_steps_by_hand() -> None:
    (panel,) = schedule(DENSE.adjacency(2, 4), 4)
    assert panel.wide == Block((0, 4), ((0, 2),))
    assert panel.program == (
        0,
        Block((1, 2), ((2, 3),)),
        1,
        Block((2, 4), ((2, 4),)),
        2,
        Block((3, 4), ((4, 5),)),
        3,
    )


def test_a_windowed_layer_in_two_panels_by_hand() -> None:
    """Windows of two groups: what lies further back is not read, and an oldest input group by no one."""
    assert schedule(Window(groups=2).adjacency(3, 5), 3) == (
        Panel(
            (0, 3),
            Block((0, 3), ((1, 3),)),
            (0, Block((1, 2), ((3, 4),)), 1, Block((2, 3), ((3, 5),)), 2),
        ),
        Panel((3, 5), Block((3, 5), ((4, 6),)), (3, Block((4, 5), ((6, 7),)), 4)),
    )


@pytest.mark.parametrize("pattern", [Regular(), Group(), Shuffle(2)])
@pytest.mark.parametrize("taps", [1, 9, 25])
def test_steps_that_read_no_output_are_one_panel(pattern: object, taps: int) -> None:
    adjacency = pattern.adjacency(6, 40)  # type: ignore[attr-defined]
    assert cheapest_panel(adjacency, 8, taps) == 40
    (panel,) = schedule(adjacency, 40)
    assert panel.program == tuple(range(40))


def cost(adjacency: Adjacency, size: int, k: int, taps: int) -> int:
    """The documented rule, written down a second time."""
    total = 0
    for block in (block for panel in schedule(adjacency, size) for block in blocks_of(panel)):
        c_in = k * sum(stop - start for start, stop in block.sources)
        c_out = k * (block.steps[1] - block.steps[0])
        total += taps * max(LANES, c_in) * max(LANES, c_out) + TRAFFIC * (c_in + c_out)
    return total


@given(adjacencies(), st.sampled_from([1, 2, 4, 8, 16, 32]), st.sampled_from([1, 3, 9, 25]))
def test_the_chosen_panel_costs_least(adjacency: Adjacency, k: int, taps: int) -> None:
    chosen = cheapest_panel(adjacency, k, taps)
    if adjacency.serial_depth == 1:
        assert chosen == adjacency.out_groups
    else:
        costs = {size: cost(adjacency, size, k, taps) for size in PANELS if size < 2 * adjacency.out_groups}
        assert costs[chosen] == min(costs.values())
        assert all(value > costs[chosen] for size, value in costs.items() if size < chosen)


def test_the_choice_follows_the_costs() -> None:
    """Narrow groups want wide panels, wide ones narrow panels, and 1x1 kernels wider ones than 3x3."""
    eight = parse_pattern("1G").adjacency(16, 16)
    sizes = [cheapest_panel(eight, k, 9) for k in (2, 8, 32, 128)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    assert all(cheapest_panel(eight, k, 1) >= cheapest_panel(eight, k, 9) for k in (2, 8, 32, 128))


@pytest.mark.parametrize("size", [0, -1])
def test_a_panel_has_at_least_one_step(size: int) -> None:
    with pytest.raises(ValueError, match=f"^panel must be an integer at least 1, got {size}$"):
        schedule(DENSE.adjacency(2, 2), size)
