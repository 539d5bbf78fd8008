"""How figures look: colours that colour-blind people can tell apart, short numbers, little ink."""

from __future__ import annotations

import itertools
import math
from typing import Any

from reporting.section import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
"""Okabe and Ito, without the yellow that is too light for lines on white."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
GREY, LIGHT = "#8a8a8a", "#c9ced6"
SCALE = "Viridis"
_INK, _GRID = "#22272e", "#e7e9ed"
_AXIS = {
    "gridcolor": _GRID,
    "zerolinecolor": _GRID,
    "linecolor": LIGHT,
    "automargin": True,
    "ticklabelstandoff": 4,
    "title": {"standoff": 8, "font": {"size": 13}},
}
TEMPLATE: dict[str, Any] = {
    "layout": {
        "font": {"family": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif", "size": 13,
                 "color": _INK},
        "colorway": list(PALETTE),
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 56, "r": 18, "t": 14, "b": 48},
        "hoverlabel": {"align": "left", "bgcolor": "white", "bordercolor": LIGHT, "font": {"color": _INK}},
        "legend": {"font": {"size": 12}, "orientation": "h", "x": 0, "y": 1.01, "xanchor": "left", "yanchor": "bottom"},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
}  # fmt: skip
_LABELS = {
    "error": "error", "params": "parameters", "macs": "multiply-adds", "serial_depth": "serial depth",
    "activation_bytes": "activation bytes", "latency": "latency in ms",
    "energy": "energy in mJ",
}  # fmt: skip
_MANY = 300
"""Marks of a figure that are drawn smaller."""
_EPOCH_TICKS = 10
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def figure(**layout: Any) -> Figure:
    """An empty figure in the style of the report."""
    import plotly.graph_objects as go

    return go.Figure(layout={"template": TEMPLATE, **layout})


def colour(index: int) -> str:
    """Of the run, or the group, of that position; after seven they come again, with another symbol or dash."""
    return PALETTE[index % len(PALETTE)]


def symbol(index: int) -> str:
    """Of the marks of a run."""
    return SYMBOLS[index % len(SYMBOLS)]


def dash(index: int) -> str:
    """Of the line of a group."""
    return DASHES[index % len(DASHES)]


def faint(of: str, opacity: float) -> str:
    """A colour of six digits that lets through what is behind it."""
    red, green, blue = (int(of[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def label(measure: str) -> str:
    """What an objective is called in a report."""
    return _LABELS.get(measure, measure.replace("_", " "))


def short(value: float | None) -> str:
    """Three digits and a unit: 1234567 is 1.23M."""
    if value is None or not math.isfinite(value):
        return ""
    for size, unit in _UNITS:
        if abs(value) >= 0.9995 * size:
            return f"{_three(value / size)}{unit}"
    return _three(value)


def percent(error: float | None) -> str:
    """An error, a fraction, in percent."""
    return "" if error is None or not math.isfinite(error) else f"{100 * error:.2f} %"


def duration(seconds: float | None) -> str:
    """For a person: 12 s, 3 min 20 s, 2 h 5 min, 1 d 3 h."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (left, "s"))
    shown = list(itertools.dropwhile(lambda part: not part[0], parts))[:2]
    return " ".join(f"{count} {unit}" for count, unit in shown if count)


def time_unit(longest: float) -> tuple[str, float]:
    """Name and seconds of the unit for an axis that ends at so many seconds."""
    units = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
    return next(((name, size) for name, size in units.items() if longest >= 2 * size), ("seconds", 1.0))


def epoch_axis(title: str, last: int) -> dict[str, Any]:
    """An axis from 0 to the last epoch, with whole numbers alone."""
    return {"title": {"text": title}, "rangemode": "tozero", "tickformat": "d", "dtick": math.ceil(last / _EPOCH_TICKS)}


def marker_size(marks: int) -> int:
    """Pixels, fewer where there are many."""
    return 7 if marks < _MANY else 5


def _three(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
