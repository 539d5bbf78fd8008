"""A report from run folders to files, top to bottom."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reporting.request import HTML, ReportRequest
from searchers.run_folder import check_writable
from seqconv.files import remove_leftovers, write_atomically

if TYPE_CHECKING:
    from reporting.runs import Run
    from reporting.section import Section

PAGE = "report.html"
TOP = 20
NOT_MADE = "it could not be made"
_LOG = logging.getLogger(__name__)
_LONGEST_NAME, _NAMED = 80, 4


def make_report(request: ReportRequest) -> list[str]:
    """Write what was asked for; returns lines for the user.

    Raises:
        ValueError: no folder that can be read, a link where the data should go, or images without a browser.
        OSError: a place that cannot be written.
    """
    folders = request.folders
    out = _page_of(folders) if request.out is None else Path(request.out).expanduser()
    check_writable("out", out.parent)
    from reporting.reading import read_runs

    runs, refused = read_runs(folders)
    sections = _sections(runs, request.top)
    files = _write_tables(runs, sections, out)
    lines = [f"note: {line}" for line in (*refused, *_not_made(sections))]
    for run in runs:
        lines += [f"note: {run.name}: {problem}" for problem in run.problems[:5]]
        more = len(run.problems) - 5
        lines += [f"note: {run.name}: {more:,} more could not be read, the page lists them"] if more > 0 else []
    if request.format != HTML:
        from reporting.images import write_images

        folder = _folder_of(out)
        images = write_images([panel for section in sections for panel in section.panels], folder, request.format)
        return [*lines, f"{len(images)} figures and their data: {folder}"]
    _write_page(runs, sections, files, refused, out)
    return [*lines, f"report: {out}", f"its data: {_folder_of(out)}"]


def write_report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page of these runs, and its data beside it; returns the page.

    Raises:
        ValueError: no folder that can be read.
        OSError: a place that cannot be written.
    """
    request = ReportRequest(run=[str(folder) for folder in folders], out=None if out is None else str(out))
    make_report(request)
    return _page_of(request.folders) if out is None else out


def conclude(folder: Path, wanted: bool = True) -> list[str]:
    """Write the report of a search that ends; returns lines for the user, which also tell where that failed."""
    if not wanted:
        return []
    try:
        return [f"report: {write_report([folder])}"]
    except Exception as error:  # the search has its results: nothing here may cost its user those
        _LOG.debug("no report", exc_info=True)
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        return [f"note: no report was written: {reason}; again: python report.py run={folder}"]


def _sections(runs: Sequence[Run], top: int) -> list[Section]:
    """All of them, in the order of the page; what goes wrong in one is said in its place."""
    from reporting.section import Section
    from reporting.sections import (  # isort: skip
        best, cost, curves, failures, history, hypervolume, importance, knobs, outcomes, pareto, population, predictor,
        rungs, weights, windows,
    )  # fmt: skip

    parts: list[tuple[str, Callable[[Sequence[Run]], Section]]] = [
        ("best", functools.partial(best.section, top=top)), ("history", history.section), ("pareto", pareto.section),
        *([("hypervolume", hypervolume.section)] if any(len(run.objectives) > 1 for run in runs) else []),
        ("windows", windows.section), ("knobs", knobs.section), ("importance", importance.section),
        ("curves", curves.section),
        *([("population", population.section)] if any(r.recipe for run in runs for r in run.records) else []),
        ("rungs", rungs.section), ("predictor", predictor.section),
        ("weights", weights.section),
        ("outcomes", outcomes.section), ("failures", failures.section), ("cost", cost.section),
    ]  # fmt: skip
    made = []
    for name, build in parts:
        try:
            made.append(build(runs))
        except Exception as error:
            _LOG.debug("section %s", name, exc_info=True)
            reason = f"{NOT_MADE}: {type(error).__name__}: {error}"
            made.append(Section(name=name, title=name.capitalize(), empty=reason))
    return made


def _not_made(sections: Sequence[Section]) -> list[str]:
    return [f"{section.name}: {section.empty}" for section in sections if section.empty.startswith(NOT_MADE)]


def _write_tables(runs: Sequence[Run], sections: Sequence[Section], out: Path) -> dict[str, list[str]]:
    """The data of each section, and all trials; returns the addresses relative to the page."""
    from reporting.data import of_trials

    frames = {section.name: section.data for section in sections if section.data is not None}
    if (trials := of_trials([(run, trial) for run in runs for trial in run.trials])) is not None:
        frames["trials"] = trials
    folder = _folder_of(out)
    if folder.is_symlink():
        raise ValueError(
            f"{folder}: is a link; the data of the page goes into a folder: remove it or pass out=PAGE.html"
        )
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    for name, frame in frames.items():
        write_atomically(folder / f"{name}.csv", frame.to_csv(index=False))
        write_atomically(folder / f"{name}.parquet", frame.to_parquet(index=False))
    return {name: [f"{folder.name}/{name}.{kind}" for kind in ("csv", "parquet")] for name in frames}


def _write_page(
    runs: Sequence[Run], sections: Sequence[Section], files: dict[str, list[str]], refused: Sequence[str], out: Path
) -> None:
    from reporting.overview import remarks
    from reporting.page import page

    html = page(
        _title([run.name for run in runs]),
        runs,
        sections,
        files=files,
        remarks=[*remarks(runs), *(f"Left out: {line}" for line in refused)],
        footer=f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
    )
    write_atomically(out, html)


def _title(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"{len(names)} searches"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _page_of(folders: Sequence[Path]) -> Path:
    """Beside the results of one run; for several a page of its own."""
    if len(folders) == 1:
        return folders[0] / PAGE
    name = re.sub(r"[^\w.-]+", "-", "-and-".join(folder.resolve().name for folder in folders))[:_LONGEST_NAME]
    return Path("reports") / f"{name}.html"


def _folder_of(page: Path) -> Path:
    """Where the data and the images of a page go."""
    return page.with_suffix("")
