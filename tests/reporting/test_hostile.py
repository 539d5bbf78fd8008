"""The report of a run folder that somebody else has written: it shows what stands there, and does none of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reporting.report import make_report
from reporting.request import ReportRequest
from tests import journals
from tests.reporting import browser
from tests.reporting.simulated import simulate

MARK = "window.hostile=1"
SCRIPT = f"</script><script>{MARK}</script>"
IMAGE = f"<img src=x onerror={MARK}>"
LINK = f"<a href='javascript:{MARK}'>x</a>"


class Elements(HTMLParser):
    """Counts the elements of a page, and names their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def elements(page: Path) -> Elements:
    found = Elements()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def put(file: Path, before: str, after: str) -> None:
    """Text in place of other text, which must be there."""
    content = file.read_text(encoding="utf-8")
    assert before in content, (file, before)
    file.write_text(content.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The page of a run as it is, and of the same run with markup wherever a run has text of its own."""
    folder = tmp_path_factory.mktemp("pages")
    plain = simulate(folder / "plain", trials=24, seed=3, failures=0.3)
    make_report(ReportRequest(run=str(plain)))
    hostile = simulate(folder / f"{IMAGE.replace('/', '')}", trials=24, seed=3, failures=0.3)
    journal = hostile / "study.journal"
    journals.put(journal, "stage1.form", LINK.replace("'", "") + IMAGE)
    journals.put(journal, '\\"bottleneck\\"', f'\\"{IMAGE}\\"')
    journals.put(journal, "training loss is nan", SCRIPT + IMAGE)
    put(hostile / "run.yaml", "name: windowed", f'name: "{SCRIPT}"')
    put(hostile / "run.yaml", "name: cifar10", f'name: "{SCRIPT}{IMAGE}"')
    put(hostile / "environment.yaml", "GPUs", f"{SCRIPT}{IMAGE}")
    put(hostile / "config.yaml", "RandomSearch", f"{SCRIPT}{IMAGE}")
    (hostile / "trials" / "0003" / "metrics.csv").write_text(f"{SCRIPT}\n{IMAGE}\n", encoding="utf-8")
    make_report(ReportRequest(run=str(hostile)))
    yield plain / "report.html", hostile / "report.html"


def test_markup_in_a_run_is_text_on_its_page(pages: tuple[Path, Path]) -> None:
    plain, hostile = map(elements, pages)
    text = pages[1].read_text(encoding="utf-8")
    assert text.count(MARK) > 20 and "study.journal: " not in text
    assert hostile.tags["script"] - hostile.tags["figure"] == plain.tags["script"] - plain.tags["figure"]
    assert "img" not in hostile.tags
    assert not [name for name in hostile.attributes if name.startswith("on")]
    assert {link.partition(":")[0].partition("/")[0].partition("#")[0] for link in hostile.links} == {
        "",
        "data",
        "report",
    }


@pytest.mark.slow
@pytest.mark.skipif(not browser.FOUND, reason="needs Chromium: apt install chromium chromium-driver; CI has it")
def test_a_browser_runs_none_of_it(pages: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(pages[1].read_bytes())
    with browser.browser(tmp_path / "profile") as driver:
        browser.open_page(driver, page, 1440)
        assert driver.execute_script("return window.hostile") is None
        links = driver.execute_script("return [...document.querySelectorAll('a')].map((a) => a.href.baseVal ?? a.href)")
        assert links and not [link for link in links if link.startswith("javascript:")]
        assert driver.execute_script("return document.querySelectorAll('img, iframe, object').length") == 0


def test_links_in_a_run_folder_are_not_written_through(tmp_path: Path) -> None:
    run = simulate(tmp_path / "run", trials=6, seed=3)
    mine = tmp_path / "mine"
    mine.write_text("kept")
    (run / "report").mkdir()
    own = f"{os.getpid()}.part"
    for name in (f".report.html.{own}", "report.html", f"report/.best.csv.{own}", "report/best.csv", ".lock"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(mine)
    make_report(ReportRequest(run=str(run)))
    assert mine.read_text() == "kept"
    assert not (run / "report.html").is_symlink() and not (run / "report" / "best.csv").is_symlink()


def test_a_link_where_the_data_of_the_page_goes(tmp_path: Path) -> None:
    run = simulate(tmp_path / "run", trials=2, seed=3)
    (tmp_path / "mine").mkdir()
    (run / "report").symlink_to(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"run/report: is a link; the data of the page goes into a folder: remove it"):
        make_report(ReportRequest(run=str(run)))
    assert list((tmp_path / "mine").iterdir()) == []
