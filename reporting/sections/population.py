"""The recipes of a population over its epochs, and those by which the best trial came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reporting.data import frame
from reporting.runs import Run
from reporting.section import Figure, Note, Panel, Section
from reporting.style import GREY, PALETTE, epoch_axis, faint, figure
from searchers.population import describe, spans
from searchers.record import COMPLETED, PRUNED, RUNNING, TrialRecord, best_first

_TEXT = (
    "Each line is a trial, from the epoch after which it took another one's weights to its last. Those that ended "
    "among the worst of their epoch are grey. The thick line is what the best trial's weights went through."
)
_KINDS = {PRUNED: ("ended among the worst", faint(GREY, 0.7)), RUNNING: ("in training", PALETTE[4]),
          COMPLETED: ("trained to the end", faint(PALETTE[0], 0.7))}  # fmt: skip
_DECADE = 10.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
Point = Mapping[str, Any]


def section(runs: Sequence[Run]) -> Section:
    """A figure for each setting of each run that has a population."""
    panels, notes, rows = [], [], []
    for run in runs:
        points = _points(run)
        rows += points
        for name in dict.fromkeys(name for record in run.records for name in record.recipe or ()):
            title = f"{name}, {run.name}" if len(runs) > 1 else name
            made = _figure(run, name, [point for point in points if point.get(name) is not None])
            panels.append(Panel(name=f"population-{name}-{run.index}", title=title, run=run.index, figure=made))
        notes += _notes(run)
    empty = "" if panels else "no trial has a recipe of its own"
    return Section(
        name="population", title="Recipes of the population", text=_TEXT, notes=notes, empty=empty, panels=panels,
        data=frame(rows),
    )  # fmt: skip


def _points(run: Run) -> list[dict[str, Any]]:
    """A row for each epoch of each trial, and one for where it took its weights."""
    return [
        {"run": run.name, "trial": r.number, "outcome": r.outcome, "parent": r.parent, "epoch": epoch,
         "validation_error": r.errors.get(epoch), **r.recipe}
        for r in run.records
        if r.recipe is not None and r.errors
        for epoch in (r.begun, *sorted(r.errors))
    ]  # fmt: skip


def _best(run: Run) -> TrialRecord | None:
    return next((record for record in best_first(run.records) if record.recipe is not None), None)


def _figure(run: Run, name: str, points: Sequence[Point]) -> Figure:
    values = [point[name] for point in points]
    logarithmic = min(values, default=0) > 0 and max(values) / min(values) > _DECADE
    made = figure(
        xaxis=epoch_axis("epoch", max((point["epoch"] for point in points), default=1)),
        yaxis={"title": {"text": name}, "type": "log" if logarithmic else "linear", "exponentformat": "e"},
    )
    for outcome, (label, colour) in _KINDS.items():
        of = [point for point in points if point["outcome"] == outcome]
        if of:
            _lines(made, of, name, label, colour, 1.3)
    if (best := _best(run)) is not None:
        through = spans(run.records, best.number)
        own = [p for record, end in through for p in points if p["trial"] == record.number and p["epoch"] <= end]
        _lines(made, own, name, f"best, trial {best.number}", PALETTE[1], 3, through=True)
    return made


def _lines(
    made: Figure, points: Sequence[Point], name: str, label: str, colour: str, width: float, *, through: bool = False
) -> None:
    """One trace, interrupted between the trials unless it goes through them."""
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for point, earlier in zip(points, [None, *points], strict=False):
        if earlier is not None and earlier["trial"] != point["trial"] and not through:
            x.append(None)
            y.append(None)
            texts.append("")
        x.append(point["epoch"])
        y.append(point[name])
        error = point["validation_error"]
        texts.append(f"trial {point['trial']}" + ("" if error is None else f", error {100 * error:.2f} %"))
    made.add_scatter(
        x=x, y=y, text=texts, mode="lines+markers", line={"color": colour, "width": width}, marker={"size": 4},
        name=label, hovertemplate="%{text}: %{y:.3g} at epoch %{x}",
    )  # fmt: skip


def _notes(run: Run) -> list[Note]:
    best = _best(run)
    return [] if best is None else [Note(text=describe(run.records, best.number), run=run.index)]
