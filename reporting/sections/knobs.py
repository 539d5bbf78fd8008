"""Parallel coordinates: a line for each trial across the values of its knobs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reporting.data import frame
from reporting.runs import Run, Trial
from reporting.section import Figure, Panel, Section
from reporting.style import SCALE, figure
from search_spaces.knobs import Value

_TEXT = (
    "A line is a trial, dark where its error after its last epoch is low; where many have a value they are spread, the "
    "best on top. Drag along an axis to keep the trials that pass there, click beside the range to drop it; drag the "
    "name of an axis to move it."
)
_INACTIVE = "\N{EN DASH}"
_WIDTH, _MOST_TICKS = 82, 12
_CLIPPED = 0.9
"""Share of the trials whose errors the colours tell apart; those above, which may have diverged, are all light."""
_SPREAD = 0.36
"""Share of the distance to the next value over which the lines of one value are spread."""
Spread = Sequence[float]


def section(runs: Sequence[Run]) -> Section:
    """One figure of all runs, with an axis for the run where there are several."""
    chosen = [(run, trial) for run in runs for trial in run.trained if trial.record.values]
    chosen.sort(key=lambda pair: -(pair[1].record.error or 0.0))
    rows = [{"run": run.name, "trial": trial.record.number, **trial.record.values, "epochs": trial.record.epochs,
             "error": trial.record.error} for run, trial in chosen]  # fmt: skip
    return Section(
        name="knobs",
        title="Knobs",
        text=_TEXT,
        empty="" if chosen else "no trial with knobs has a result yet",
        panels=[_panel(runs, chosen)] if chosen else [],
        data=frame(rows),
    )


def _panel(runs: Sequence[Run], chosen: Sequence[tuple[Run, Trial]]) -> Panel:
    """Of trials in the order of their errors, the highest first."""
    records = [trial.record for _, trial in chosen]
    names = list(dict.fromkeys(name for record in records for name in record.values))
    spread = [_SPREAD * (place / len(records) - 0.5) for place in range(len(records))]
    errors = [100 * (record.error or 0.0) for record in records]
    axes = [
        *([_run_axis(runs, chosen, spread)] if len(runs) > 1 else []),
        *(_axis(name, [record.values.get(name) for record in records], spread) for name in names),
        _axis("epochs", [record.epochs for record in records], spread),
        {"label": "error in %", "values": errors, "range": [max(errors) + 0.1, min(errors) - 0.1]},
    ]
    return Panel(
        name="knobs",
        figure=_figure(axes, errors, several=len(runs) > 1),
        height=440,
        min_width=_WIDTH * len(axes),
        wide=True,
    )


def _figure(axes: Sequence[dict[str, Any]], errors: Sequence[float], *, several: bool) -> Figure:
    made = figure(margin={"l": 60, "r": 70, "t": 64, "b": 24})
    top = sorted(errors)[int(_CLIPPED * (len(errors) - 1))]
    made.add_parcoords(
        dimensions=list(axes),
        # Negative, because plotly draws the line of the higher number over the other.
        line={
            "color": [-error for error in errors],
            "colorscale": SCALE,
            "reversescale": True,
            "showscale": False,
            "cmin": -top,
            "cmax": -min(errors),
        },
        meta={"axis": "run"} if several else None,
        labelangle=-20,
        labelside="top",
        rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
    )
    return made


def _run_axis(runs: Sequence[Run], chosen: Sequence[tuple[Run, Trial]], spread: Spread) -> dict[str, Any]:
    """The first axis, by which the page selects runs: a run is at its index."""
    return {
        "label": "run",
        "values": [run.index + offset for (run, _), offset in zip(chosen, spread, strict=True)],
        "tickvals": [run.index for run in runs],
        "ticktext": [run.name for run in runs],
        "range": [-0.5, len(runs) - 0.5],
    }


def _axis(name: str, values: Sequence[Value | None], spread: Spread) -> dict[str, Any]:
    """Many numbers at their own places; a few of them, words, and what is not active, at places of equal distance."""
    there = {value for value in values if value is not None}
    if all(map(_is_number, there)) and len(there) > _MOST_TICKS and None not in values:
        return {"label": name, "values": list(values)}
    order = sorted(there, key=lambda value: (not _is_number(value), value if _is_number(value) else 0, str(value)))
    places = {value: place for place, value in enumerate([*([None] if None in values else []), *order])}
    ticks = list(places.items())[:: math.ceil(len(places) / _MOST_TICKS)]
    return {
        "label": name,
        "values": [places[value] + offset for value, offset in zip(values, spread, strict=True)],
        "tickvals": [place for _, place in ticks],
        "ticktext": [_INACTIVE if value is None else str(value) for value, _ in ticks],
        "range": [-_SPREAD, len(places) - 1 + _SPREAD],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
