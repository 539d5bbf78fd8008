"""How patterns are written, and which of them are one and the same."""

import json

import pytest
import yaml
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
    canonical,
    parse_pattern,
)
from tests.seqconv.strategies import patterns

small = st.integers(1, 4)


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        (4, Window(groups=4)),
        ("4", Window(groups=4)),
        ("0.5G", Window(ratio=0.5)),
        (".5G", Window(ratio=0.5)),
        ("2G", Window(ratio=2.0)),
        ("dense", DENSE),
        ("log", Log()),
        ("harmonic", Harmonic()),
        ("regular", Regular()),
        ("group", Group()),
        ("split", Split()),
        ("dilated(4, 2)", Dilated(Window(groups=4), 2)),
        ("dilated(4,2)", Dilated(Window(groups=4), 2)),
        ("dilated(0.5G, 2)", Dilated(Window(ratio=0.5), 2)),
        ("dilated(dense, dilation=2)", Dilated(DENSE, 2)),
        ("dilated(dilation = 2, window = dense)", Dilated(DENSE, 2)),
        ("shuffle(4)", Shuffle(4)),
        ("random(seed=1, p=0.5)", Random(1, 0.5)),
        ("random(1, .5)", Random(1, 0.5)),
        ("random(p=1, seed=0)", Random(0, 1.0)),
        ([[0], [1, -1]], Explicit(((0,), (-1, 1)))),
        (((0,),), Explicit(((0,),))),
        (Split(), Split()),
    ],
)
def test_parse(written: object, pattern: Pattern) -> None:
    assert parse_pattern(written) == pattern


@pytest.mark.parametrize("written", [4, "0.5G", "dense", Window(groups=3)])
def test_a_window_parses_alike_where_only_windows_are_allowed(written: object) -> None:
    assert Window.parse(written) == parse_pattern(written)


@given(
    st.one_of(
        patterns(6, 6),
        st.floats(min_value=1e-12, max_value=1e6).map(lambda ratio: Window(ratio=ratio)),
        st.builds(Random, st.integers(0), st.floats(0, 1)),
    )
)
def test_plain_value_reads_back(pattern: Pattern) -> None:
    plain = pattern.to_plain()
    assert parse_pattern(plain) == pattern
    assert parse_pattern(json.loads(json.dumps(plain))) == pattern
    in_flow = yaml.safe_dump({"window": plain}, default_flow_style=True)
    assert parse_pattern(yaml.safe_load(in_flow)["window"]) == pattern


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        (Window(groups=4), "4"),
        (Window(ratio=1), "1.0G"),
        (Dilated(DENSE, 2), "dilated(dense, 2)"),
        (Random(1, 1e-5), "random(seed=1, p=0.00001)"),
        (Shuffle(2), "shuffle(2)"),
        (Explicit(((0,), (0, 1))), "explicit(steps=2, pairs=3)"),
    ],
)
def test_a_pattern_in_a_line_of_text(pattern: Pattern, written: str) -> None:
    assert str(pattern) == written


FORMS = (
    "window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, a list of each step's "
    "sources, or one of dense, log, harmonic, regular, group, split, dilated(window, dilation), shuffle(partitions), "
    "random(seed, p); got "
)


@pytest.mark.parametrize(
    "written", [True, 4.0, None, "", "G", "-1", "1e3G", "0.5 G", "4\n", "9" * 5000, "explicit()x", "((0))", {"log": 1}]
)
def test_parse_refuses(written: object) -> None:
    with pytest.raises(ValueError) as error:
        parse_pattern(written)
    assert str(error.value) == f"{FORMS}{written!r}"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("Dense", " (did you mean dense?)"),
        ("groups", " (did you mean group?)"),
        ("harmonics", " (did you mean harmonic?)"),
        ("shufle(4)", " (did you mean shuffle?)"),
        ("log ()", " (did you mean log?)"),
        ("dilated(4", "; inside [] or {} YAML needs it in quotes"),
    ],
)
def test_parse_says_what_may_be_meant(written: str, hint: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_pattern(written)
    assert str(error.value) == f"{FORMS}{written!r}{hint}"


@pytest.mark.parametrize("written", [True, 4.0, None, "", "G", "log", "4groups", [4]])
def test_parse_of_a_window_refuses(written: object) -> None:
    with pytest.raises(ValueError) as error:
        Window.parse(written)
    assert str(error.value) == (
        "window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, or dense; "
        f"got {written!r}"
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("log()", "it must be written as log"),
        ("dilated", "it must be written as dilated(window, dilation)"),
        ("dilated(4)", "it must be written as dilated(window, dilation)"),
        ("dilated(4, 2, 1)", "it must be written as dilated(window, dilation)"),
        ("dilated(4, width=2)", "it must be written as dilated(window, dilation)"),
        ("dilated(2, window=4)", "it must be written as dilated(window, dilation)"),
        ("random(1, =0.5)", "it must be written as random(seed, p)"),
        ("shuffle()", "partitions must be an integer at least 1, got ''"),
        ("shuffle(four)", "partitions must be an integer at least 1, got 'four'"),
        ("shuffle(-4)", "partitions must be an integer at least 1, got -4"),
        ("shuffle(4.0)", "partitions must be an integer at least 1, got 4.0"),
        ("dilated(0, 2)", "window in groups must be an integer at least 1, got 0"),
        ("random(seed=1, p=1e-3)", "p must be a number at least 0 and at most 1, got '1e-3'"),
    ],
)
def test_parse_names_the_pattern_whose_values_are_wrong(written: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_pattern(written)
    assert str(error.value) == f"window {written}: {message}"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("0", "window in groups must be an integer at least 1, got 0"),
        ("0G", "window ratio must be a number above 0 and at most 1e+06, got 0.0"),
        ([], "explicit sources must be a list with a list of groups for each step, got ()"),
        ([4], "explicit sources must be a list with a list of groups for each step, got (4,)"),
    ],
)
def test_values_of_windows_and_lists_have_errors_of_their_own(written: object, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_pattern(written)
    assert str(error.value) == message


@given(st.data(), small, small, small)
def test_equal_adjacency_is_equal_canonical_form(data: st.DataObject, in_groups: int, g: int, other_g: int) -> None:
    """Both ways, for two layers that share a pattern."""
    sizes = [(in_groups, g), (in_groups, other_g)]
    one, other = (data.draw(patterns(in_groups, max(g, other_g))) for _ in range(2))
    equal = all(one.adjacency(*size) == other.adjacency(*size) for size in sizes)
    assert equal == (canonical(one, sizes) == canonical(other, sizes))


@given(st.data(), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_canonical_is_idempotent_and_reads_the_same(data: st.DataObject, in_groups: int, g: int, other_g: int) -> None:
    sizes = [(in_groups, g), (in_groups, other_g)]
    pattern = data.draw(patterns(in_groups, max(g, other_g)))
    found = canonical(pattern, sizes)
    assert canonical(found, sizes) == found
    assert canonical(pattern, sizes[::-1]) == found
    assert all(found.adjacency(*size) == pattern.adjacency(*size) for size in sizes)


@given(st.data(), st.integers(1, 12), st.integers(1, 12))
def test_canonical_of_explicit_rows_finds_the_name(data: st.DataObject, in_groups: int, out_groups: int) -> None:
    sizes = [(in_groups, out_groups)]
    pattern = data.draw(patterns(in_groups, out_groups))
    assert canonical(Explicit(pattern.adjacency(*sizes[0]).sources), sizes) == canonical(pattern, sizes)


@pytest.mark.parametrize(
    ("pattern", "sizes", "found"),
    [
        (Window(groups=15), [(8, 8)], DENSE),
        (Window(groups=14), [(8, 8)], Window(groups=14)),
        (Window(groups=15), [(8, 8), (8, 9)], Window(groups=15)),
        (Window(ratio=0.5), [(8, 8)], Window(groups=4)),
        (Regular(), [(8, 1)], DENSE),
        (Regular(), [(8, 1), (8, 2)], Regular()),
        (Group(), [(1, 8)], Regular()),
        (Split(), [(1, 2)], DENSE),
        (Log(), [(2, 8)], Log()),
        (Log(), [(1, 2)], DENSE),
        (Harmonic(), [(8, 2)], DENSE),
        (Harmonic(), [(8, 4)], Harmonic()),
        (Dilated(Window(groups=3), 1), [(8, 8)], Window(groups=3)),
        (Dilated(DENSE, 3), [(4, 6)], Dilated(Window(groups=3), 3)),
        (Dilated(Window(groups=1), 8), [(8, 8)], Group()),
        (Dilated(Window(groups=1), 8), [(8, 8), (8, 9)], Dilated(Window(groups=1), 8)),
        (Shuffle(8), [(8, 8)], Group()),
        (Shuffle(2), [(8, 8)], Shuffle(2)),
        (Random(1, 0), [(8, 8)], Window(groups=1)),
        (Random(1, 1), [(8, 8), (8, 2)], DENSE),
        (Explicit(((0,), (1,), (-1,))), [(2, 2)], Window(groups=1)),
        (Explicit(((0,), (-1,), (1,))), [(2, 2)], Explicit(((0,), (-1,)))),
    ],
)
def test_canonical_by_hand(pattern: Pattern, sizes: list[tuple[int, int]], found: Pattern) -> None:
    assert canonical(pattern, sizes) == found


def test_canonical_of_a_random_pattern_does_not_name_its_seed() -> None:
    pattern = canonical(Random(1, 0.5), [(8, 8)])
    assert pattern == Explicit(Random(1, 0.5).adjacency(8, 8).sources)


@pytest.mark.parametrize("sizes", [[], [(4, 4), (8, 4)]])
def test_canonical_refuses_sizes(sizes: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError) as error:
        canonical(DENSE, sizes)
    assert str(error.value) == f"sizes must be one or more (G, g) with the same G, got {sizes}"


def test_canonical_refuses_a_pattern_that_the_sizes_do_not_allow() -> None:
    with pytest.raises(ValueError, match=r"^shuffle\(3\) with G = 8 and g = 2: partitions must divide"):
        canonical(Shuffle(3), [(8, 2)])
