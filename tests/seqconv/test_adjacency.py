"""What follows from the sources, against a count on the matrix."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqconv.adjacency import Adjacency
from tests.seqconv.strategies import patterns

SMALL = Adjacency(2, 3, ((0,), (-1, 1), (0,)))


@st.composite
def adjacencies(draw: st.DrawFn) -> Adjacency:
    in_groups, out_groups = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    return draw(patterns(in_groups, out_groups)).adjacency(in_groups, out_groups)


def longest_chain(matrix: tuple[tuple[bool, ...], ...], in_groups: int, step: int) -> int:
    """By walking every chain of steps that ends in `step`."""
    read = [source for source in range(1, step) if matrix[step - 1][in_groups + source - 1]]
    return 1 + max((longest_chain(matrix, in_groups, source) for source in read), default=0)


@given(adjacencies())
def test_the_matrix_has_the_sources(adjacency: Adjacency) -> None:
    groups = range(1 - adjacency.in_groups, adjacency.out_groups + 1)
    matrix = adjacency.matrix()
    assert len(matrix) == adjacency.out_groups
    for row, sources in zip(matrix, adjacency.sources, strict=True):
        assert [group for group, read in zip(groups, row, strict=True) if read] == list(sources)


@given(adjacencies())
def test_every_step_reads_something_and_only_what_comes_before_it(adjacency: Adjacency) -> None:
    for step, row in enumerate(adjacency.matrix()):
        own = adjacency.in_groups + step
        assert any(row[:own])
        assert not any(row[own:])


@given(adjacencies())
def test_counts_agree_with_the_matrix(adjacency: Adjacency) -> None:
    in_groups, matrix = adjacency.in_groups, adjacency.matrix()
    assert adjacency.pairs == sum(map(sum, matrix))
    columns = list(zip(*matrix, strict=True))[:in_groups]
    assert adjacency.unread == tuple(j + 1 - in_groups for j, column in enumerate(columns) if not any(column))
    assert adjacency.reads_whole_input == all(map(all, columns))
    steps = range(1, adjacency.out_groups + 1)
    assert adjacency.serial_depth == max(longest_chain(matrix, in_groups, step) for step in steps)


def test_a_small_one_by_hand() -> None:
    assert SMALL.matrix() == (
        (False, True, False, False, False),
        (True, False, True, False, False),
        (False, True, False, False, False),
    )
    assert (SMALL.pairs, SMALL.unread, SMALL.serial_depth, SMALL.reads_whole_input) == (4, (), 2, False)
    assert Adjacency(3, 1, ((-1,),)).unread == (-2, 0)


def test_sources_may_be_lists() -> None:
    assert Adjacency(2, 3, [[0], [-1, 1], [0]]) == SMALL  # type: ignore[arg-type]


@given(adjacencies(), adjacencies())
def test_equal_fingerprint_is_equal(one: Adjacency, other: Adjacency) -> None:
    assert (one == other) == (one.fingerprint() == other.fingerprint())
    assert Adjacency(one.in_groups, one.out_groups, one.sources).fingerprint() == one.fingerprint()


def test_fingerprint_stays() -> None:
    """Files name an adjacency by it; it also tells apart layers with equal sources and other sizes."""
    assert SMALL.fingerprint() == "c0db831879011ece"
    assert Adjacency(3, 3, SMALL.sources).fingerprint() != SMALL.fingerprint()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((0, 1, ((0,),)), "in_groups must be an integer at least 1, got 0"),
        ((1, 0, ()), "out_groups must be an integer at least 1, got 0"),
        ((2, 2, ((0,),)), "sources needs one row for each of 2 steps, got 1"),
        ((2, 2, ((0,), ())), "step 2 reads nothing: it needs at least one group before it"),
        ((2, 2, ((0,), (2,))), "step 2 must read groups from -1 to 1, got 2"),
        ((2, 2, ((0,), (-2, 0))), "step 2 must read groups from -1 to 1, got -2"),
        ((2, 1, ((True,),)), "step 1 must read groups from -1 to 0, got True"),
        ((2, 1, ((-1.0, 0),)), "step 1 must read groups from -1 to 0, got -1.0"),
        ((2, 1, ((0, -1),)), "step 1 must read different groups in ascending order, got [0, -1]"),
        ((2, 1, ((0, 0),)), "step 1 must read different groups in ascending order, got [0, 0]"),
    ],
)
def test_refuses(fields: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Adjacency(*fields)
    assert str(error.value) == message
