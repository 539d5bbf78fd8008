from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from reporting.drawing import drawings
from seqconv import Architecture, Stage, read_architecture


def architecture(window: object, groups: int = 8) -> Architecture:
    stage = Stage(blocks=2, group_width=32 // groups, window=window, form="bottleneck")  # type: ignore[arg-type]
    return Architecture(stages=(stage,), widening=2, pyramid=(1,))


def cells(path: str) -> set[tuple[int, int]]:
    """Row and column of each cell that an SVG path covers, in which every row is drawn on its own."""
    found = []
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path):
        found += [(int(y), int(x) + i) for i in range(int(width))]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    "window", ["0.5G", "1G", "2G", "dense", 1, 3, "log", "harmonic", "split", "dilated(3, 2)", "regular"]
)
def test_a_drawing_shows_who_reads_whom(window: object) -> None:
    of = architecture(window)
    adjacency = of.stages[0].window.adjacency(8, 8)
    drawn = ElementTree.fromstring(drawings(of))
    (svg,) = drawn.iter("svg")
    by_class = {path.get("class"): cells(path.get("d") or "") for path in svg.iter("path")}
    expected = {(i, j) for i, row in enumerate(adjacency.matrix()) for j, read in enumerate(row) if read}
    assert by_class["i"] == {(i, j) for i, j in expected if j < 8}
    assert by_class["o"] == {(i, j) for i, j in expected if j >= 8}
    assert by_class["r"] == {(i, j) for i in range(8) for j in range(8 + i)}
    assert svg.get("viewBox") == "0 0 15 8"


def test_a_drawing_for_each_stage_with_what_it_is() -> None:
    drawn = ElementTree.fromstring(drawings(read_architecture("cifar_b_small")))
    captions = [small.text for small in drawn.iter("small")]
    assert len(list(drawn.iter("svg"))) == len(captions) == 3
    assert all(re.fullmatch(r"\d+ blocks?, \d+g\d+, .+, (plain|B(/\d+)?)", str(caption)) for caption in captions)
    assert next(drawings_of("1G")) == "2 blocks, 8g4, 1.0G, B"


def drawings_of(window: object):  # type: ignore[no-untyped-def]
    return (small.text for small in ElementTree.fromstring(drawings(architecture(window))).iter("small"))


def test_a_drawing_of_many_groups_stays_small() -> None:
    (svg,) = ElementTree.fromstring(drawings(architecture("0.5G", groups=32))).iter("svg")
    assert int(svg.get("height") or 0) <= 56
