"""The report as one page that needs nothing else: its figures, and the library that draws them, are inside."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reporting.overview import facts
from reporting.runs import Run
from reporting.section import Figure, Section
from reporting.style import colour

ASSETS = Path(__file__).parent / "assets"
_DIGITS = 5
"""That a number of a figure keeps."""


def page(
    title: str,
    runs: Sequence[Run],
    sections: Sequence[Section],
    *,
    files: Mapping[str, Sequence[str]],
    remarks: Sequence[str],
    footer: str,
) -> str:
    """The HTML.

    Args:
        title: heading.
        runs: what it is of.
        sections: in their order.
        files: by name of a section, the addresses of its data, relative to the page.
        remarks: what a reader must know first.
        footer: the last line.
    """
    from jinja2 import Environment, FileSystemLoader

    template = Environment(loader=FileSystemLoader(ASSETS), autoescape=True).get_template("page.html")
    return template.render(
        title=title,
        css=(ASSETS / "page.css").read_text(encoding="utf-8"),
        script=(ASSETS / "page.js").read_text(encoding="utf-8"),
        library=_library(),
        runs=[{"run": run, "colour": colour(run.index), "facts": facts(run)} for run in runs],
        sections=sections,
        figures={panel.name: _embedded(panel.figure) for section in sections for panel in section.panels},
        files=files,
        remarks=remarks,
        problems=[f"{run.name}: {problem}" for run in runs for problem in run.problems],
        footer=footer,
    )  # fmt: skip


def plain(figure: Figure) -> dict[str, Any]:
    """A figure as plain data with short numbers: NaN is None, which plotly leaves out."""
    made: dict[str, Any] = _rounded(figure.to_plotly_json())
    return made


def _embedded(figure: Figure) -> str:
    """JSON inside a script element, which nothing in it may end."""
    return json.dumps(plain(figure), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


@functools.cache
def _library() -> str:
    """Plotly's own script, compressed: as it is, it alone would be nearly 5 MB."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
