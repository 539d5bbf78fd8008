"""Learning curves of all trials, and the rungs at which the scheduler stops some."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reporting.data import frame
from reporting.runs import Run, Trial
from reporting.section import Figure, Panel, Section
from reporting.style import GREY, PALETTE, epoch_axis, faint, figure
from searchers.record import COMPLETED, PRUNED, RUNNING, best_first

_TEXT = "Dotted lines are rungs: epochs after which the scheduler stopped trials."
_COLOURS = {PRUNED: GREY, RUNNING: PALETTE[4], COMPLETED: PALETTE[0]}
_NAMES = {PRUNED: "stopped early", RUNNING: "in training", COMPLETED: "trained to the end"}
_MARGIN = 2
"""Percent, above and below the curves."""
_FAINT_FROM = 40
"""Curves of one kind from which they are drawn so that where many lie shows."""


def section(runs: Sequence[Run]) -> Section:
    """A figure for each run, on the same scale."""
    shown = [run for run in runs if run.trained]
    errors = [100 * error for run in shown for trial in run.trained for error in trial.record.errors.values()]
    finite = [error for error in errors if math.isfinite(error)]
    scale = [min(finite) - _MARGIN, max(finite) + _MARGIN] if finite else None
    rows = [
        {"run": run.name, "trial": trial.record.number, "outcome": trial.record.outcome, **epoch}
        for run in shown
        for trial in run.trained
        for epoch in _epochs(trial)
    ]
    panels = [
        Panel(
            name=f"curves-{run.index}" if len(runs) > 1 else "curves",
            title=run.name if len(runs) > 1 else "",
            run=run.index,
            figure=_figure(run, scale),
            wide=len(runs) == 1,
        )
        for run in shown
    ]
    empty = "" if panels else "no trial has a result yet"
    return Section(name="curves", title="Learning curves", text=_TEXT, empty=empty, panels=panels, data=frame(rows))


def _epochs(trial: Trial) -> list[dict[str, Any]]:
    """What the store has of each epoch, with what the trial's own folder has."""
    own = {int(row["epoch"]): row for row in trial.metrics}
    return [{**own.get(epoch, {}), "epoch": epoch, "validation_error": error}
            for epoch, error in trial.record.errors.items()]  # fmt: skip


def _figure(run: Run, scale: list[float] | None) -> Figure:
    made = figure(
        xaxis=epoch_axis("epoch", max(trial.record.epochs for trial in run.trained)),
        yaxis={"title": {"text": "validation error in %"}, "range": scale},
    )
    for outcome, name in _NAMES.items():
        of = [trial for trial in run.trained if trial.record.outcome == outcome]
        if of:
            strong = len(of) < _FAINT_FROM
            _lines(made, of, name, faint(_COLOURS[outcome], 0.6 if strong else 0.25), 1.3 if strong else 1)
    best = best_first([trial.record for trial in run.trained])
    chosen = [trial for trial in run.trained if best and trial.record.number == best[0].number]
    _lines(made, chosen, f"best, trial {best[0].number}" if best else "", PALETTE[1], 3)
    for epoch in sorted({trial.record.epochs for trial in run.trained if trial.record.outcome == PRUNED}):
        made.add_vline(x=epoch, line={"color": GREY, "width": 1, "dash": "dot"}, layer="below")
    return made


def _lines(made: Figure, trials: Sequence[Trial], name: str, colour: str, width: float) -> None:
    """One trace, interrupted between the trials."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for trial in trials:
        epochs = sorted(trial.record.errors)
        x += [*epochs, None]
        y += [*(100 * trial.record.errors[epoch] for epoch in epochs), None]
        numbers += [trial.record.number] * len(epochs) + [None]
    single = all(len(trial.record.errors) == 1 for trial in trials)
    made.add_scatter(
        x=x, y=y, customdata=numbers, mode="lines+markers", line={"color": colour, "width": width},
        marker={"size": 6 if single else 4}, name=name,
        hovertemplate="trial %{customdata}: %{y:.2f} % after epoch %{x}",
    )  # fmt: skip
