"""Which knobs the error depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reporting.data import frame
from reporting.importance import FANOVA, FEWEST, PED_ANOVA, importances
from reporting.matched import errors_at, matched_epoch
from reporting.runs import Run
from reporting.section import Figure, Note, Panel, Section
from reporting.style import PALETTE, figure

_TEXT = (
    f"{PED_ANOVA} tells which knobs set the best tenth of the trials (or the best five) apart from all; {FANOVA} which "
    "share of all the variance of the error a knob explains, where every trial has it. Each adds up to 100 %. Trials "
    "are compared after the last epoch that 80 % of them reached."
)
_MOST = 20
"""Knobs that are drawn."""
_FEW = 50
"""Trials that are called few."""


def section(runs: Sequence[Run]) -> Section:
    """A figure for each run."""
    panels, rows, notes = [], [], []
    for run in runs:
        found, note = _importances(run)
        notes.append(Note(text=note, run=run.index))
        rows += [{"run": run.name, "method": method, "knob": knob, "share": share}
                 for method, shares in found.items() for knob, share in shares.items()]  # fmt: skip
        if found:
            panels.append(_panel(run, found, several=len(runs) > 1))
    empty = "" if panels else "there are not enough trials yet, or no knobs"
    return Section(name="importance", title="Which knobs matter", text=_TEXT, notes=notes, empty=empty, panels=panels,
                   data=frame(rows))  # fmt: skip


def _importances(run: Run) -> tuple[dict[str, dict[str, float]], str]:
    """By method and knob, and what they rest on, or why there are none."""
    epoch = matched_epoch(run.trained)
    compared = [] if epoch is None else errors_at(run.trained, epoch)
    if len(compared) < FEWEST:
        return {}, f"it takes {FEWEST} trials with a result, there are {len(compared)}"
    found = importances([trial.record.values for trial, _ in compared], [error for _, error in compared])
    if not found:
        return {}, "the knobs, or the errors, are all the same"
    few = "" if len(compared) >= _FEW else ", which are few: read the order as a hint"
    return found, f"{len(compared):,} trials after epoch {epoch}{few}"


def _panel(run: Run, found: Mapping[str, Mapping[str, float]], *, several: bool) -> Panel:
    shown = list(found[PED_ANOVA])[:_MOST]
    return Panel(
        name=f"importance-{run.index}" if several else "importance",
        title=run.name if several else "",
        run=run.index,
        figure=_figure(found, shown),
        height=110 + 34 * len(shown),
        wide=not several,
    )


def _figure(found: Mapping[str, Mapping[str, float]], shown: Sequence[str]) -> Figure:
    made = figure(
        xaxis={"title": {"text": "importance in %"}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed"},
        barmode="group",
        bargap=0.25,
    )
    for method, colour in ((PED_ANOVA, PALETTE[0]), (FANOVA, PALETTE[4])):
        shares: Mapping[str, Any] = found.get(method, {})
        if shares:
            made.add_bar(
                orientation="h",
                y=list(shown),
                x=[100 * shares[name] if name in shares else None for name in shown],
                name=method,
                marker={"color": colour},
                hovertemplate="%{y}: %{x:.1f} %",
            )
    return made
