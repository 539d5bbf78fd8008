"""The figures as image files, drawn by an installed Chrome or Chromium through kaleido."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reporting.page import plain
from reporting.section import Panel
from reporting.style import TEMPLATE

WIDTH = 900
"""Pixels, where a figure does not ask for more."""
_TITLE = 28
"""Pixels that the title takes."""
_SCALE = 2
"""Pixels of a PNG for each of the figure."""


def write_images(panels: Sequence[Panel], folder: Path, kind: str) -> list[Path]:
    """One file for each figure, named after it.

    Args:
        panels: the figures.
        folder: that exists.
        kind: png or svg.

    Raises:
        ValueError: no browser that can be started, with how to get one.
    """
    try:
        import kaleido
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ImportError:
        raise ValueError(f"format={kind} needs kaleido: pip install 'seqconv-nas[images]'; html needs none") from None
    files = [folder / f"{panel.name}.{kind}" for panel in panels]
    for file in files:
        if file.is_symlink():  # which would be followed
            file.unlink()
    wanted = [
        {"fig": _titled(panel), "path": str(file), "opts": {"format": kind, "scale": _SCALE, **_size(panel)}}
        for panel, file in zip(panels, files, strict=True)
    ]
    try:
        # MathJax, which nothing here needs, would be fetched from the network.
        kaleido.write_fig_from_object_sync(wanted, kopts={"mathjax": False}, cancel_on_error=True)
    except (ChromeNotFoundError, BrowserClosedError, BrowserFailedError, TimeoutError) as error:
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise ValueError(
            f"format={kind} needs Chrome or Chromium, which draws the figures: install one (apt install chromium, or "
            f"kaleido_get_chrome), or give its path in BROWSER_PATH; format=html needs none: {reason}"
        ) from None
    return files


def _size(panel: Panel) -> dict[str, int]:
    return {"width": max(WIDTH, panel.min_width), "height": panel.height + _TITLE * bool(panel.title)}


def _titled(panel: Panel) -> dict[str, Any]:
    """With what stands above it on the page."""
    figure = plain(panel.figure)
    if panel.title:
        layout = figure["layout"]
        margin = {**TEMPLATE["layout"]["margin"], **layout.get("margin", {})}
        title = {"text": panel.title, "font": {"size": 14}, "x": 0.01, "y": 1, "yanchor": "top", "pad": {"t": 8}}
        figure["layout"] = {**layout, "title": title, "margin": {**margin, "t": margin["t"] + _TITLE}}
    return figure
