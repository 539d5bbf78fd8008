"""Windows against the literal definition: step i reads x_j for i - w <= j <= i - 1 and j >= 1 - G."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqconv import aggregation
from seqconv.aggregation import DENSE, Window
from tests.seqconv.strategies import windows

groups = st.integers(1, 10)
widths = st.none() | st.integers(1, 24)


def adjacency(in_groups: int, out_groups: int, width: int | None) -> list[set[int]]:
    everything = range(1 - in_groups, out_groups + 1)
    reach = math.inf if width is None else width
    return [{j for j in everything if i - reach <= j <= i - 1} for i in range(1, out_groups + 1)]


@given(groups, groups, widths)
def test_sources_are_those_of_the_equation(in_groups: int, out_groups: int, width: int | None) -> None:
    expected = adjacency(in_groups, out_groups, width)
    found = [list(aggregation.sources(i, in_groups, width)) for i in range(1, out_groups + 1)]
    assert found == [sorted(reads) for reads in expected]
    assert aggregation.source_pairs(in_groups, out_groups, width) == sum(map(len, expected))
    read = set().union(*expected)
    assert aggregation.unread_groups(in_groups, width) == len(set(range(1 - in_groups, 1)) - read)


@given(groups, groups, st.integers(1, 24))
def test_source_pairs_in_closed_form(in_groups: int, out_groups: int, width: int) -> None:
    expected = sum(min(width, in_groups + i - 1) for i in range(1, out_groups + 1))
    assert aggregation.source_pairs(in_groups, out_groups, width) == expected


@given(groups, groups, widths, widths)
def test_equal_adjacency_is_equal_canonical_width(g_in: int, g_out: int, one: int | None, other: int | None) -> None:
    equal = adjacency(g_in, g_out, one) == adjacency(g_in, g_out, other)
    canonical = [aggregation.canonical_width(width, g_in, g_out) for width in (one, other)]
    assert equal == (canonical[0] == canonical[1])
    assert adjacency(g_in, g_out, one) == adjacency(g_in, g_out, canonical[0])


@given(groups, groups, widths)
def test_every_step_waits_for_the_one_before(in_groups: int, out_groups: int, width: int | None) -> None:
    assert aggregation.serial_depth(in_groups, out_groups, width) == out_groups


@pytest.mark.parametrize(
    ("written", "window"),
    [
        (4, Window(groups=4)),
        ("4", Window(groups=4)),
        ("0.5G", Window(ratio=0.5)),
        (".5G", Window(ratio=0.5)),
        ("2G", Window(ratio=2.0)),
        ("dense", DENSE),
        (Window(groups=3), Window(groups=3)),
    ],
)
def test_parse(written: object, window: Window) -> None:
    assert Window.parse(written) == window


@given(windows | st.floats(min_value=1e-12, max_value=1e6).map(lambda ratio: Window(ratio=ratio)))
def test_plain_value_reads_back(window: Window) -> None:
    assert Window.parse(window.to_plain()) == window
    assert Window.parse(str(window.to_plain())) == window


@pytest.mark.parametrize("written", [True, 4.0, None, "", "G", "-1", "1e3G", "0.5 G", "Dense", "4\n", "4groups", [4]])
def test_parse_refuses(written: object) -> None:
    with pytest.raises(
        ValueError, match=r"^window must be a number of groups such as 4, a ratio .* or dense; got "
    ) as e:
        Window.parse(written)
    assert str(e.value).endswith(repr(written))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"groups": 0}, "window in groups must be an integer at least 1, got 0"),
        ({"groups": 1.5}, "window in groups must be an integer at least 1, got 1.5"),
        ({"ratio": 0}, "window ratio must be a number above 0 and at most 1e+06, got 0"),
        ({"ratio": -0.5}, "window ratio must be a number above 0 and at most 1e+06, got -0.5"),
        ({"ratio": math.inf}, "window ratio must be a number above 0 and at most 1e+06, got inf"),
        ({"groups": 2, "ratio": 0.5}, "window takes groups or a ratio, got both: 2 and 0.5"),
    ],
)
def test_window_refuses(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Window(**fields)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize("written", ["0", "0G", "0.0G"])
def test_zero_parses_to_an_error_of_its_own(written: str) -> None:
    with pytest.raises(ValueError, match=r"(at least 1|above 0)"):
        Window.parse(written)


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
