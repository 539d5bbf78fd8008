from __future__ import annotations

import base64
import gzip
import json
import math
import re
from html.parser import HTMLParser

import pytest

from reporting.page import page, plain
from reporting.runs import Run
from reporting.section import Cell, Column, Note, Panel, Row, Section, Table
from reporting.style import figure
from tests.reporting.records import run

NASTY = "</script><b>&\"'{{ 1 }}"


class Elements(HTMLParser):
    """The start tags of a page, the text of its scripts, and all its other text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)
        elif self.tags and self.tags[-1][0] != "style":
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def made(*sections: Section, runs: list[Run] | None = None) -> str:
    return page("title", runs or [run(name="a")], sections, files={}, remarks=[], footer="end")


def drawn(y: list[float], name: str = "one") -> Section:
    of = figure()
    of.add_scatter(y=y, name=NASTY)
    return Section(name=name, title="A figure", panels=[Panel(name=name, figure=of, title=NASTY, height=300)])


def test_the_library_is_inside_once_and_whole() -> None:
    from plotly.offline import get_plotlyjs

    html = made(drawn([1.0]), drawn([2.0], "two"))
    (library,) = re.findall(r'<script type="text/plain" id="library">([^<]*)</script>', html)
    assert gzip.decompress(base64.b64decode(library)).decode() == get_plotlyjs()


def test_nothing_is_fetched() -> None:
    elements = Elements(made(drawn([1.0])))
    addresses = [
        value for _, attributes in elements.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert addresses
    assert all(str(address).startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp", made())


def test_the_figures_are_data_that_nothing_in_them_ends() -> None:
    figures = [
        json.loads(script) for script in Elements(made(drawn([1.0, 1 / 3]))).scripts if script.startswith('{"data"')
    ]
    assert [(of["data"][0]["y"], of["data"][0]["name"]) for of in figures] == [([1.0, 0.33333], NASTY)]


def test_numbers_are_short_and_what_is_none_is_left_out() -> None:
    of = figure()
    of.add_scatter(x=[1, 123456.789, 1e-9 / 3], y=[math.nan, math.inf, None], customdata=[[True, "a"]])
    data = plain(of)["data"][0]
    assert data["x"] == [1, 123460.0, 3.3333e-10]
    assert data["y"] == [None, None, None]
    assert data["customdata"] == [[True, "a"]]


def test_what_others_wrote_is_text() -> None:
    """Names of runs, reasons of failures and descriptions come from files."""
    table = Table(
        columns=[Column(title=NASTY)],
        rows=[Row(run=0, cells=[Cell(text=NASTY, order=NASTY, details=NASTY, markup="<svg></svg>")])],
    )
    section = Section(name="s", title=NASTY, text=NASTY, notes=[Note(text=NASTY, run=0)], table=table)
    of = run(name=NASTY, problems=[NASTY], environment={"cluster": NASTY})
    elements = Elements(page(NASTY, [of], [section], files={}, remarks=[NASTY], footer=NASTY))
    assert not elements.of("b")
    assert len(elements.of("svg")) == 1
    assert elements.text.count(NASTY) == 15


def test_a_table_says_by_what_it_is_sorted() -> None:
    table = Table(
        columns=[Column(title="n"), Column(title="text", number=False)],
        rows=[Row(run=0, cells=[Cell(text="1k", order=1000), Cell(text="none")])],
    )
    elements = Elements(made(Section(name="s", title="S", table=table)))
    assert [attributes.get("class") for attributes in elements.of("th")] == ["number", None]
    assert [attributes.get("data-order") for attributes in elements.of("td")] == ["1000", None]
    assert elements.of("tr")[1] == {"data-run": "0"}


def test_runs_are_selected_where_there_are_several() -> None:
    one, two = run(name="a"), run(name="b", index=1)
    assert not Elements(made(runs=[one])).of("input")
    boxes = Elements(made(runs=[one, two])).of("input")
    assert [(box["name"], box["value"], "checked" in box) for box in boxes] == [("run", "0", True), ("run", "1", True)]
    note = Section(name="s", title="S", notes=[Note(text="found", run=1)])
    assert "b: found" in made(note, runs=[one, two])
    assert "b: found" not in made(Section(name="s", title="S", notes=[Note(text="found", run=0)]), runs=[run(name="b")])


def test_an_empty_section_says_why() -> None:
    html = made(Section(name="s", title="S", text="how to read it", empty="no trial has a result yet"))
    assert "Nothing to show: no trial has a result yet." in html
    assert "how to read it" not in html


@pytest.mark.parametrize("width", [0, 900])
def test_a_figure_has_the_size_that_it_asks_for(width: int) -> None:
    section = Section(
        name="s", title="S", panels=[Panel(name="p", figure=figure(), height=250, min_width=width, run=0)]
    )
    elements = Elements(made(section))
    (plot,) = (attributes for attributes in elements.of("div") if attributes.get("class") == "plot")
    assert plot == {
        "class": "plot",
        "id": "plot-p",
        "style": "height:250px" + (f";min-width:{width}px" if width else ""),
    }
    assert elements.of("figure") == [{"data-run": "0"}]
