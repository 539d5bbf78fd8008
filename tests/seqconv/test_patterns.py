"""Every pattern against its definition, written out as a set of sources."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqconv.aggregation import (
    DENSE,
    Dilated,
    Explicit,
    Group,
    Harmonic,
    Log,
    Pattern,
    Random,
    Regular,
    Shuffle,
    Split,
    Window,
)
from tests.seqconv.strategies import patterns, windows

sizes = st.integers(1, 12)


def inputs(in_groups: int) -> range:
    return range(1 - in_groups, 1)


def overlapping(step: int, out_groups: int, places: list[int]) -> set[int]:
    """What stands at the places that overlap a step's share, input and output being laid over each other."""
    first, last = Fraction(step - 1, out_groups), Fraction(step, out_groups)
    count = len(places)
    return {places[j] for j in range(count) if Fraction(j, count) < last and Fraction(j + 1, count) > first}


def agrees(pattern: Pattern, in_groups: int, out_groups: int, definition: Callable[[int], set[int]]) -> bool:
    found = pattern.adjacency(in_groups, out_groups).sources
    return list(map(set, found)) == [definition(step) for step in range(1, out_groups + 1)]


@given(sizes, sizes, windows)
def test_window(in_groups: int, out_groups: int, window: Window) -> None:
    width = window.resolve(in_groups)
    reach = math.inf if width is None else width
    assert agrees(window, in_groups, out_groups, lambda i: {j for j in range(1 - in_groups, i) if j >= i - reach})


@given(sizes, sizes, windows, st.data())
def test_dilated(in_groups: int, out_groups: int, window: Window, data: st.DataObject) -> None:
    dilation = data.draw(st.integers(1, in_groups))
    count = window.resolve(in_groups) or in_groups + out_groups
    pattern = Dilated(window, dilation)
    reads = {i: {i - m * dilation for m in range(1, count + 1)} for i in range(1, out_groups + 1)}
    assert agrees(pattern, in_groups, out_groups, lambda i: {j for j in reads[i] if j > -in_groups})


@given(sizes, sizes)
def test_log(in_groups: int, out_groups: int) -> None:
    offsets = {2**n for n in range(10)}
    assert agrees(Log(), in_groups, out_groups, lambda i: {j for j in range(1 - in_groups, i) if i - j in offsets})


@given(sizes, sizes)
def test_harmonic(in_groups: int, out_groups: int) -> None:
    def definition(step: int) -> set[int]:
        links = {step - 2**n for n in range(10) if step % 2**n == 0}
        return links | set(inputs(in_groups)) if 0 in links else links

    assert agrees(Harmonic(), in_groups, out_groups, definition)


def test_log_and_harmonic_by_hand() -> None:
    assert Log().adjacency(3, 4).sources == ((-1, 0), (-2, 0, 1), (-1, 1, 2), (0, 2, 3))
    assert Harmonic().adjacency(2, 6).sources == ((-1, 0), (-1, 0, 1), (2,), (-1, 0, 2, 3), (4,), (4, 5))


@given(sizes, sizes)
def test_regular(in_groups: int, out_groups: int) -> None:
    assert agrees(Regular(), in_groups, out_groups, lambda i: set(inputs(in_groups)))


@given(sizes, sizes)
def test_group(in_groups: int, out_groups: int) -> None:
    assert agrees(Group(), in_groups, out_groups, lambda i: overlapping(i, out_groups, list(inputs(in_groups))))


def test_group_of_equal_sizes_has_offset_g() -> None:
    assert Group().adjacency(4, 4).sources == ((-3,), (-2,), (-1,), (0,))
    assert Group().adjacency(4, 2).sources == ((-3, -2), (-1, 0))
    assert Group().adjacency(2, 3).sources == ((-1,), (-1, 0), (0,))


@given(sizes, sizes)
def test_split(in_groups: int, out_groups: int) -> None:
    def definition(step: int) -> set[int]:
        return overlapping(step, out_groups, list(inputs(in_groups))) | ({step - 1} if step > 1 else set())

    assert agrees(Split(), in_groups, out_groups, definition)


@given(sizes, sizes, st.data())
def test_shuffle(in_groups: int, out_groups: int, data: st.DataObject) -> None:
    partitions = data.draw(st.sampled_from([d for d in range(1, in_groups + 1) if in_groups % d == 0]))
    size = in_groups // partitions
    parts = [inputs(in_groups)[start : start + size] for start in range(0, in_groups, size)]
    shuffled = [part[place] for place in range(size) for part in parts]
    assert agrees(Shuffle(partitions), in_groups, out_groups, lambda i: overlapping(i, out_groups, shuffled))


def test_shuffle_by_hand() -> None:
    """Of the partitions (-5, -4, -3) and (-2, -1, 0), the first of each comes first."""
    assert Shuffle(2).adjacency(6, 6).sources == ((-5,), (-2,), (-4,), (-1,), (-3,), (0,))
    assert Shuffle(2).adjacency(6, 3).sources == ((-5, -2), (-4, -1), (-3, 0))


@given(st.integers(0, 2**70), st.floats(0, 1))
def test_a_larger_random_layer_keeps_what_a_smaller_one_reads(seed: int, p: float) -> None:
    small, large = Random(seed, p).adjacency(4, 5), Random(seed, p).adjacency(7, 9)
    for step, (few, many) in enumerate(zip(small.sources, large.sources, strict=False), start=1):
        assert step - 1 in few
        assert [source for source in many if source > -4] == list(few)


@given(st.integers(0, 20), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_p_reads_more(seed: int, one: float, other: float) -> None:
    few, many = (Random(seed, p).adjacency(6, 6).sources for p in sorted((one, other)))
    assert all(set(fewer) <= set(more) for fewer, more in zip(few, many, strict=True))


def test_random_at_both_ends_and_between() -> None:
    assert Random(3, 0).adjacency(8, 8) == Window(groups=1).adjacency(8, 8)
    assert Random(3, 1).adjacency(8, 8) == DENSE.adjacency(8, 8)
    drawn = [Random(seed, 0.3).adjacency(40, 40).pairs - 40 for seed in range(20)]
    possible = DENSE.adjacency(40, 40).pairs - 40
    assert sum(drawn) / (20 * possible) == pytest.approx(0.3, abs=0.01)
    assert len(set(drawn)) > 10


def test_random_is_the_same_everywhere() -> None:
    drawn = Random(1, 0.5).adjacency(4, 4).sources
    assert drawn == ((-1, 0), (-2, 0, 1), (-2, 0, 1, 2), (-2, 1, 2, 3))


def test_explicit_uses_the_rows_it_needs() -> None:
    pattern = Explicit(((0, -1), (1,), (2, -1)))
    assert pattern.adjacency(2, 3).sources == ((-1, 0), (1,), (-1, 2))
    assert pattern.adjacency(4, 2).sources == ((-1, 0), (1,))
    assert Explicit([[0, -1], [1], [2, -1]]) == pattern  # type: ignore[arg-type]


@given(st.data())
def test_explicit_rows_of_any_pattern_are_its_adjacency(data: st.DataObject) -> None:
    in_groups, out_groups = data.draw(sizes), data.draw(sizes)
    adjacency = data.draw(patterns(in_groups, out_groups)).adjacency(in_groups, out_groups)
    assert Explicit(adjacency.sources).adjacency(in_groups, out_groups) == adjacency


@pytest.mark.parametrize(
    ("width", "params"),
    [(1, 4_736), (2, 9_344), (4, 18_560), (6, 27_776), (8, 36_992), (12, 49_664), (15, 53_120), (99, 53_120)],
)
def test_parameters_of_a_windowed_layer(width: int, params: int) -> None:
    """3x3 and batch norm, k = 8, G = g = 8."""
    assert 9 * 8 * 8 * Window(groups=width).adjacency(8, 8).pairs + 2 * 64 == params


@given(sizes, sizes, st.integers(1, 24))
def test_source_pairs_in_closed_form(in_groups: int, out_groups: int, width: int) -> None:
    def pairs(pattern: Pattern) -> int:
        return pattern.adjacency(in_groups, out_groups).pairs

    assert pairs(Regular()) == in_groups * out_groups
    assert pairs(DENSE) - pairs(Regular()) == out_groups * (out_groups - 1) // 2
    assert pairs(Window(groups=width)) == sum(min(width, in_groups + i - 1) for i in range(1, out_groups + 1))
    assert pairs(Group()) == in_groups + out_groups - math.gcd(in_groups, out_groups)
    assert pairs(Split()) == pairs(Group()) + out_groups - 1
    assert len(Window(groups=width).adjacency(in_groups, out_groups).unread) == max(0, in_groups - width)


@pytest.mark.parametrize(
    ("pattern", "depth"),
    [
        (DENSE, 8),
        (Window(groups=1), 8),
        (Log(), 8),
        (Harmonic(), 8),
        (Dilated(Window(groups=3), 2), 4),
        (Dilated(Window(groups=3), 3), 3),
        (Dilated(DENSE, 8), 1),
        (Regular(), 1),
        (Group(), 1),
        (Split(), 8),
        (Shuffle(4), 1),
        (Random(0, 0.1), 8),
        (Explicit(((0,), (0,), (1,), (2,), (3, 4), (0,), (5,), (6,))), 4),
    ],
)
def test_serial_depth_of_eight_steps(pattern: Pattern, depth: int) -> None:
    assert pattern.adjacency(8, 8).serial_depth == depth


@pytest.mark.parametrize(
    ("window", "in_groups", "width"),
    [
        (Window(groups=7), 4, 7),
        (Window(ratio=0.5), 8, 4),
        (Window(ratio=0.5), 5, 3),
        (Window(ratio=0.5), 1, 1),
        (Window(ratio=0.01), 8, 1),
        (Window(ratio=1.25), 8, 10),
        (DENSE, 8, None),
    ],
)
def test_resolve(window: Window, in_groups: int, width: int | None) -> None:
    assert window.resolve(in_groups) == width


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Window, {"groups": 0}, "window in groups must be an integer at least 1, got 0"),
        (Window, {"groups": 1.5}, "window in groups must be an integer at least 1, got 1.5"),
        (Window, {"ratio": 0}, "window ratio must be a number above 0 and at most 1e+06, got 0"),
        (Window, {"ratio": -0.5}, "window ratio must be a number above 0 and at most 1e+06, got -0.5"),
        (Window, {"ratio": math.inf}, "window ratio must be a number above 0 and at most 1e+06, got inf"),
        (Window, {"groups": 2, "ratio": 0.5}, "window takes groups or a ratio, got both: 2 and 0.5"),
        (Dilated, {"window": 2, "dilation": 0}, "dilation must be an integer at least 1, got 0"),
        (Dilated, {"window": 2, "dilation": 1.0}, "dilation must be an integer at least 1, got 1.0"),
        (Dilated, {"window": 0, "dilation": 2}, "window in groups must be an integer at least 1, got 0"),
        (
            Dilated,
            {"window": "log", "dilation": 2},
            "window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, or dense; "
            "got 'log'",
        ),
        (Shuffle, {"partitions": 0}, "partitions must be an integer at least 1, got 0"),
        (Random, {"seed": -1, "p": 0.5}, "seed must be an integer at least 0, got -1"),
        (Random, {"seed": True, "p": 0.5}, "seed must be an integer at least 0, got True"),
        (Random, {"seed": 1, "p": 1.1}, "p must be a number at least 0 and at most 1, got 1.1"),
        (Random, {"seed": 1, "p": "0.5"}, "p must be a number at least 0 and at most 1, got '0.5'"),
        (
            Explicit,
            {"rows": ()},
            "explicit sources must be a list with a list of groups for each step, got ()",
        ),
        (
            Explicit,
            {"rows": ((0,), 1)},
            "explicit sources must be a list with a list of groups for each step, got ((0,), 1)",
        ),
        (
            Explicit,
            {"rows": "0"},
            "explicit sources must be a list with a list of groups for each step, got '0'",
        ),
        (Explicit, {"rows": ((0,), (1, "0"))}, "explicit sources must be integers, got ((0,), (1, '0'))"),
        (Explicit, {"rows": ((False,),)}, "explicit sources must be integers, got ((False,),)"),
        (Explicit, {"rows": ((0,), ())}, "step 2 reads nothing: it needs at least one group before it"),
        (Explicit, {"rows": ((0,), (0, 2))}, "step 2 must read groups up to 1, got 2"),
        (Explicit, {"rows": ((0,), (0, 0))}, "step 2 must read different groups in ascending order, got [0, 0]"),
    ],
)
def test_refuses(kind: type[Pattern], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        kind(**fields)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("pattern", "in_groups", "out_groups", "message"),
    [
        (Log(), 0, 4, "in_groups must be an integer at least 1, got 0"),
        (Log(), 4, True, "out_groups must be an integer at least 1, got True"),
        (
            Dilated(Window(groups=2), 5),
            4,
            6,
            "dilated(2, 5) with G = 4 and g = 6: step 1 reads nothing: it needs at least one group before it",
        ),
        (Shuffle(3), 8, 8, "shuffle(3) with G = 8 and g = 8: partitions must divide the 8 input groups, got 3"),
        (
            Explicit(((0,), (0, 1))),
            4,
            3,
            "explicit(steps=2, pairs=3) with G = 4 and g = 3: it needs a row for each of 3 steps, got 2",
        ),
        (
            Explicit(((-4, 0),)),
            4,
            1,
            "explicit(steps=1, pairs=2) with G = 4 and g = 1: step 1 must read groups from -3 to 0, got -4",
        ),
    ],
)
def test_adjacency_refuses(pattern: Pattern, in_groups: int, out_groups: int, message: str) -> None:
    with pytest.raises(ValueError) as error:
        pattern.adjacency(in_groups, out_groups)
    assert str(error.value) == message
