"""What an error costs: Pareto fronts against each cost that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reporting.data import frame
from reporting.runs import Run
from reporting.section import Figure, Panel, Section
from reporting.style import colour, figure, label, marker_size, symbol
from searchers.objectives import ERROR, OBJECTIVES, pareto_front

_TEXT = (
    "Full marks are the trials that came furthest; the line joins those that none of them beats in both, of those "
    "within the limits where there are some. Hollow marks were stopped earlier, or are not as far yet: their errors "
    "are of another kind."
)
_LOG_FROM = 8
"""Ratio of the largest to the smallest cost from which the axis is logarithmic."""
Rows = Sequence[Mapping[str, Any]]


def section(runs: Sequence[Run]) -> Section:
    """A figure for each cost."""
    rows = {run.index: _rows(run) for run in runs}
    every = [row for of_run in rows.values() for row in of_run]
    costs = [name for name in OBJECTIVES if name != ERROR and any(name in row for row in every)]
    return Section(
        name="pareto",
        title="What an error costs",
        text=_TEXT,
        empty="" if costs else "no trial has a result yet",
        panels=[
            Panel(name=f"pareto-{name}", title=f"error against {label(name)}", figure=_figure(runs, rows, name))
            for name in costs
        ],
        data=frame(every),
    )


def _rows(run: Run) -> list[dict[str, Any]]:
    """Measures of every trained trial, whether it came furthest, and which fronts it is on."""
    furthest = max((trial.record.epochs for trial in run.trained), default=0)
    rows: list[dict[str, Any]] = []
    for trial in run.trained:
        record = trial.record
        rows.append({"run": run.name, "trial": record.number, "epochs": record.epochs,
                     "furthest": record.epochs == furthest, "feasible": record.feasible,
                     **record.measures()})  # fmt: skip
    for cost in [name for name in OBJECTIVES if name != ERROR]:
        compared = [row for row in rows if row["furthest"] and row["feasible"] and cost in row]
        on_front = {compared[i]["trial"] for i in pareto_front([(row[cost], row[ERROR]) for row in compared])}
        for row in compared:
            row[f"on_front_of_{cost}"] = row["trial"] in on_front
    return rows


def _figure(runs: Sequence[Run], rows: Mapping[int, Rows], cost: str) -> Figure:
    made = figure(
        xaxis={
            "title": {"text": label(cost)},
            **_scale([row[cost] for r in rows.values() for row in r if cost in row]),
        },
        yaxis={"title": {"text": "validation error in %"}},
    )
    for run in runs:
        known = [row for row in rows[run.index] if cost in row]
        marks = symbol(run.index)
        _marks(made, run, [row for row in known if not row["furthest"]], cost, f"{marks}-open")
        _marks(made, run, [row for row in known if row["furthest"]], cost, marks)
        front = sorted((row for row in known if row.get(f"on_front_of_{cost}")), key=lambda row: float(row[cost]))
        made.add_scatter(
            x=[row[cost] for row in front],
            y=[100 * row[ERROR] for row in front],
            mode="lines",
            line={"color": colour(run.index), "shape": "hv", "width": 2},
            hoverinfo="skip",
            name=run.name,
            meta={"run": run.index},
            showlegend=len(runs) > 1,
        )
    return made


def _marks(made: Figure, run: Run, rows: Rows, cost: str, marks: str) -> None:
    made.add_scatter(
        x=[row[cost] for row in rows],
        y=[100 * row[ERROR] for row in rows],
        customdata=[[row["trial"], row["epochs"]] for row in rows],
        hovertemplate="trial %{customdata[0]}: %{y:.2f} % after %{customdata[1]} epochs, %{x:.3s} " + label(cost),
        mode="markers",
        marker={"color": colour(run.index), "symbol": marks, "size": marker_size(len(rows)), "opacity": 0.8},
        name=run.name,
        meta={"run": run.index},
        showlegend=False,
    )


def _scale(values: Sequence[float]) -> dict[str, Any]:
    """Of the axis, with units such as M at its numbers."""
    log = min(values) > 0 and max(values) > _LOG_FROM * min(values)
    return {"tickformat": "~s"} | ({"type": "log", "dtick": "D2"} if log else {})
