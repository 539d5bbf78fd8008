"""Reports in a real browser; screenshots are kept under tests/.artefacts, which git ignores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from reporting.images import write_images
from reporting.report import make_report
from reporting.request import ReportRequest
from reporting.runs import Run
from reporting.sections import knobs, weights
from tests.reporting import browser
from tests.reporting.simulated import simulate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.FOUND, reason="needs Chromium: apt install chromium chromium-driver; CI has it"),
]
ARTEFACTS = Path(__file__).parents[1] / ".artefacts"
WIDE, NARROW = 1440, 390
SECONDS, MEGABYTES = 20, 5
"""What a report of a thousand trials may take."""
MARKS = """
function painted(canvas) {
  const flat = document.createElement("canvas");
  [flat.width, flat.height] = [canvas.width, canvas.height];
  flat.getContext("2d").drawImage(canvas, 0, 0);
  return flat.getContext("2d").getImageData(0, 0, flat.width, flat.height).data.some((value) => value > 0);
}
return [...document.querySelectorAll(".plot")].map((plot) => {
  const drawn = plot.querySelectorAll(".point, .js-line, .js-fill, .hm image").length;
  return [plot.id, drawn + [...plot.querySelectorAll("canvas")].filter(painted).length];
});
"""
"""What stands for data in each figure: points, lines, fills, heat maps, and canvases that are not blank."""
CUT_OFF = """
const found = [];
for (const plot of document.querySelectorAll(".plot")) {
  const box = plot.getBoundingClientRect();
  for (const text of plot.querySelectorAll("text")) {
    const own = text.getBoundingClientRect();
    const across = own.left > box.left - 2 && own.right < box.right + 2;
    const inside = across && own.top > box.top - 2 && own.bottom < box.bottom + 2;
    if (own.width && text.textContent.trim() && !inside) found.push(plot.id + ": " + text.textContent);
  }
}
return found;
"""
"""Texts of figures that reach out of them."""
SHOWN = """
const of = (id) => document.getElementById("plot-" + id);
return {
  history: of("history-trial").data.map((trace) => trace.visible !== false),
  own: [...document.querySelectorAll("#curves figure")].map((figure) => !figure.hidden),
  knobs: of("knobs").data[0].dimensions[0].constraintrange ?? null,
};
"""
"""What is shown of the runs: by all in one figure, by figures of their own, by the first axis of the knobs."""


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("runs") / "thousand", trials=1000, seed=1)


@pytest.fixture(scope="module")
def page(folder: Path, thousand: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two runs, in a folder without anything else that it could need."""
    out = tmp_path_factory.mktemp("page") / "two.html"
    make_report(ReportRequest(run=[str(folder), str(thousand)], out=str(out), top=5))
    return Path(out.replace(tmp_path_factory.mktemp("alone") / "two.html"))


@pytest.fixture(scope="module")
def driver(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser with the page, which tests must leave as it is."""
    with browser.browser(tmp_path_factory.mktemp("profile")) as opened:
        browser.open_page(opened, page, WIDE)
        yield opened


def test_a_report_of_a_thousand_trials_is_small_and_quick(thousand: Path) -> None:
    before = time.process_time()
    make_report(ReportRequest(run=str(thousand)))
    assert time.process_time() - before < SECONDS  # of all cores together, whatever else the machine does
    assert (thousand / "report.html").stat().st_size < MEGABYTES * 1e6


def test_every_figure_is_drawn_and_nothing_is_cut_off(driver: webdriver.Chrome) -> None:
    check(driver, WIDE)


def check(driver: webdriver.Chrome, width: int) -> None:
    browser.screenshot(driver, ARTEFACTS / f"report-{width}.png")
    assert browser.errors(driver) == []
    plots = driver.execute_script(MARKS)
    assert len(plots) > 20
    assert [name for name, marks in plots if not marks] == []
    assert driver.execute_script("return document.documentElement.scrollWidth") == width
    assert driver.execute_script(CUT_OFF) == []


def column(driver: webdriver.Chrome, place: int) -> list[str]:
    """The texts that are shown in a column of the best architectures."""
    rows = "[...document.querySelectorAll('#best tbody tr')].filter(row => !row.hidden)"
    return [str(text) for text in driver.execute_script(f"return {rows}.map(row => row.cells[{place}].innerText)")]


def test_a_click_sorts_the_table(driver: webdriver.Chrome) -> None:
    heads = driver.find_elements("css selector", "#best th button")
    error = [head.text for head in heads].index("error")
    before = column(driver, error)
    heads[error].click()
    ascending = column(driver, error)
    assert ascending == sorted(before, key=lambda text: float(text.removesuffix(" %")))
    heads[error].click()
    assert column(driver, error) == ascending[::-1]
    assert driver.find_elements("css selector", "#best th")[error].get_attribute("aria-sort") == "descending"
    heads[0].click()
    assert column(driver, 0) == sorted(column(driver, 0))


def test_a_run_is_left_out_and_comes_back(driver: webdriver.Chrome) -> None:
    first, _ = driver.find_elements("css selector", "input[name=run]")
    whole = driver.execute_script(SHOWN)
    assert whole == {"history": [True] * 6, "own": [True, True], "knobs": None}
    assert set(column(driver, 0)) == {"first", "thousand"}
    first.click()
    assert driver.execute_script(SHOWN) == {
        "history": [False] * 3 + [True] * 3, "own": [False, True], "knobs": [[0.7, 1.3]]
    }  # fmt: skip
    assert set(column(driver, 0)) == {"thousand"}
    first.click()
    assert driver.execute_script(SHOWN) == whole
    assert set(column(driver, 0)) == {"first", "thousand"}
    assert browser.errors(driver) == []


def test_it_is_readable_on_a_phone(driver: webdriver.Chrome, page: Path) -> None:
    browser.open_page(driver, page, NARROW)
    check(driver, NARROW)


def test_figures_as_images(one: list[Run], tmp_path: Path) -> None:
    from PIL import Image

    (lines,), (maps,) = knobs.section(one).panels, weights.section(one).panels
    (png,), (svg,) = write_images([lines], tmp_path, "png"), write_images([maps], tmp_path, "svg")
    assert (png.name, svg.name) == ("knobs.png", "weights.svg")
    with Image.open(png) as image:
        assert image.size == (2 * max(900, lines.min_width), 2 * lines.height)
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 100
    assert svg.read_text(encoding="utf-8").startswith("<svg")
