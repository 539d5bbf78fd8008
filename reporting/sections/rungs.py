"""How well early epochs rank what was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from promotion.transfer import RungAgreement, between_rungs, reached, spread
from reporting.data import frame
from reporting.runs import Run
from reporting.section import Figure, Panel, Section
from reporting.style import GREY, colour, dash, epoch_axis, figure

_TEXT = (
    "Kendall's tau between the errors after an early epoch and those after a later one, with 95 % bootstrap intervals: "
    "1 is the same order, 0 no relation. A scheduler lets only those go on that were good early, and among such alike "
    "trials agreement is as a rule lower than it would be among all."
)
_MOST = 6
"""Epochs that are compared with a later one."""
_FEW = 10
"""Trials that a later epoch should have."""
_RESAMPLES = 500
_APART = 0.06
"""Epochs by which the marks of two runs are drawn beside each other."""


def section(runs: Sequence[Run]) -> Section:
    """A figure of all runs: a line for each later epoch."""
    found = {run.index: list(_agreements(run)) for run in runs}
    rows = [_row(run, rung) for run in runs for of in found[run.index] for rung in of]
    return Section(
        name="rungs",
        title="Do early epochs rank as later ones?",
        text=_TEXT,
        empty="" if rows else "it takes trials that were trained for more than one epoch",
        panels=[Panel(name="rungs", figure=_figure(runs, found), wide=True)] if rows else [],
        data=frame(rows),
    )


def _agreements(run: Run) -> Iterator[list[RungAgreement]]:
    """With the last epoch that ten trials have reached, and with the last of all."""
    counts = reached(run.records)
    last = max(counts, default=0)
    common = max((epoch for epoch, count in counts.items() if count >= _FEW), default=last)
    for later in dict.fromkeys((common, last)):
        earlier = spread([epoch for epoch in counts if epoch < later], _MOST)
        rungs = between_rungs(run.records, later=later, epochs=earlier, resamples=_RESAMPLES)
        if known := [rung for rung in rungs if rung.agreement.tau.value is not None]:
            yield known


def _figure(runs: Sequence[Run], found: dict[int, list[list[RungAgreement]]]) -> Figure:
    made = figure(
        xaxis=epoch_axis("early epoch", max(rung.later for of in found.values() for rungs in of for rung in rungs)),
        yaxis={"title": {"text": "Kendall's tau"}},
    )
    made.add_hline(y=0, line={"color": GREY, "width": 1})
    for run in runs:
        for place, rungs in enumerate(found[run.index]):
            taus = [rung.agreement.tau for rung in rungs]
            named = f"{run.name}, " if len(runs) > 1 else ""
            made.add_scatter(
                x=[rung.epoch + _APART * run.index for rung in rungs],
                y=[tau.value for tau in taus],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [_distance(tau.high, tau.value) for tau in taus],
                    "arrayminus": [_distance(tau.value, tau.low) for tau in taus],
                    "thickness": 1.2,
                },
                customdata=[[rung.agreement.n, rung.of, rung.epoch] for rung in rungs],
                hovertemplate="epoch %{customdata[2]}: tau %{y:.2f} over %{customdata[0]} of %{customdata[1]} trials",
                mode="lines+markers",
                line={"color": colour(run.index if len(runs) > 1 else place), "dash": dash(place), "width": 2},
                marker={"size": 8},
                name=f"{named}with epoch {rungs[0].later} ({rungs[0].agreement.n} trials)",
                meta={"run": run.index},
                showlegend=True,
            )
    return made


def _distance(upper: float | None, lower: float | None) -> float | None:
    """A value may lie outside a percentile interval."""
    return None if upper is None or lower is None else max(0.0, upper - lower)


def _row(run: Run, rung: RungAgreement) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": run.name,
        "epoch": rung.epoch,
        "later": rung.later,
        "of": rung.of,
        "n": rung.agreement.n,
    }
    for name, of in (("tau", rung.agreement.tau), ("rho", rung.agreement.rho)):
        row |= {name: of.value, f"{name}_low": of.low, f"{name}_high": of.high}
    return row
