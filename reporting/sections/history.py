"""Every trial of a search in its order, and the best so far."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from reporting.data import frame
from reporting.runs import Run, moment
from reporting.section import Figure, Panel, Section
from reporting.style import colour, figure, marker_size, symbol, time_unit
from searchers.record import COMPLETED

_TEXT = (
    "Full marks are trials that were trained to the end, and are within the limits where there are some; hollow ones "
    "were stopped early or are still in training. The line is the lowest error of the former so far."
)
_BY = {"trial": "by trial", "seconds": "by time"}
Rows = Sequence[Mapping[str, Any]]


def section(runs: Sequence[Run]) -> Section:
    """Error by number of the trial, and by time."""
    rows = {run.index: _rows(run) for run in runs}
    every = [row for of_run in rows.values() for row in of_run]
    panels = [
        Panel(name=f"history-{by}", title=title, figure=_figure(runs, rows, by))
        for by, title in _BY.items()
        if any(row[by] is not None for row in every)
    ]
    return Section(
        name="history",
        title="History",
        text=_TEXT,
        empty="" if every else "no trial has a result yet",
        panels=panels,
        data=frame(every),
    )


def _rows(run: Run) -> list[dict[str, Any]]:
    begun = min((start for trial in run.trials if (start := moment(trial.record, "started"))), default=None)
    rows: list[dict[str, Any]] = []
    for trial in run.trained:
        record, end = trial.record, moment(trial.record, "finished")
        seconds = None if begun is None or end is None else (end - begun).total_seconds()
        rows.append({"run": run.name, "trial": record.number, "outcome": record.outcome, "epochs": record.epochs,
                     "feasible": record.feasible, "error": record.error, "seconds": seconds})  # fmt: skip
    return rows


def _figure(runs: Sequence[Run], rows: Mapping[int, Rows], by: str) -> Figure:
    unit, size = time_unit(max(row[by] or 0.0 for of in rows.values() for row in of)) if by == "seconds" else ("", 1)
    made = figure(
        xaxis={"title": {"text": f"{unit} since the search began" if unit else by}},
        yaxis={"title": {"text": "validation error in %"}},
    )
    for run in runs:
        placed = sorted((row for row in rows[run.index] if row[by] is not None), key=lambda row: float(row[by]))
        full = [row for row in placed if row["outcome"] == COMPLETED and row["feasible"]]
        _marks(made, run, [row for row in placed if row not in full], f"{symbol(run.index)}-open", by, size)
        _marks(made, run, full, symbol(run.index), by, size)
        lowest = list(itertools.accumulate((100 * row["error"] for row in full), min))
        made.add_scatter(
            x=[row[by] / size for row in (*full, *placed[-1:])] if full else [],
            y=[*lowest, *lowest[-1:]],
            mode="lines",
            line={"color": colour(run.index), "shape": "hv", "width": 2},
            hovertemplate="best so far %{y:.2f} %",
            name=run.name,
            meta={"run": run.index},
            showlegend=len(runs) > 1,
        )
    return made


def _marks(made: Figure, run: Run, rows: Rows, marks: str, by: str, size: float) -> None:
    made.add_scatter(
        x=[row[by] / size for row in rows],
        y=[100 * row["error"] for row in rows],
        customdata=[[row["trial"], row["epochs"]] for row in rows],
        hovertemplate="trial %{customdata[0]}: %{y:.2f} % after %{customdata[1]} epochs",
        mode="markers",
        marker={"color": colour(run.index), "symbol": marks, "size": marker_size(len(rows)), "opacity": 0.8},
        name=run.name,
        meta={"run": run.index},
        showlegend=False,
    )
