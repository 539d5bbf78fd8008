"""How well results can be predicted from architectures alone, and the best of those that were not tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from promotion.rank_correlation import Correlation
from reporting.data import frame
from reporting.drawing import drawings
from reporting.predictions import Rung, Suggestion, overall, rungs, suggestions, usable
from reporting.runs import Run
from reporting.section import Cell, Column, Figure, Note, Panel, Row, Section, Table
from reporting.style import GREY, colour, dash, epoch_axis, figure
from searchers.predictor import FEWEST

_TEXT = (
    "A model that is linear in what the aggregation of an architecture looks like (groups read, reach, serial depth, "
    "size) learns from four fifths of the trials and predicts the order of the others: Spearman's rho with the errors "
    "of the same epoch, mean prediction of four ways to divide, with 95 % bootstrap intervals of the trials. Beside it "
    "the order by multiply-adds, where 1 would be that larger is better. Where trials went on, also how their errors "
    "at the epoch rank the later ones alone, and after the prediction was added: these share the noise of one "
    "training, which flatters both. The table is a guess: of a thousand random architectures of the space, within the "
    "budget and not tried, those that the model expects most of."
)
_SUGGESTED = 5
_APART = 0.06
_LINES = {"predictor": "predictor", "macs": "multiply-adds", "error": "error, with the later one",
          "both": "error + predictor, with the later one"}  # fmt: skip


def section(runs: Sequence[Run]) -> Section:
    """A figure of all runs with a line for each ranking, and a table of what to try next."""
    found: dict[int, list[Rung]] = {}
    notes: list[Note] = []
    table: list[Row] = []
    for run in runs:
        trials = usable(run)
        if len(trials) < FEWEST:
            text = f"too few results: it takes {FEWEST} with an architecture, there are {len(trials)}"
            notes.append(Note(text=text, run=run.index))
            continue
        found[run.index] = list(rungs(run, trials))
        predictor, macs = overall(trials)
        agreement = f"rho {_with_interval(predictor)}, of multiply-adds alone {_with_interval(macs)}"
        notes.append(Note(text=f"places of all {len(trials):,} results, cross-validated: {agreement}", run=run.index))
        try:
            table += [_row(run, one, several=len(runs) > 1) for one in suggestions(run, trials, _SUGGESTED)]
        except (TypeError, ValueError) as error:  # of another release, or damaged
            notes.append(Note(text=f"nothing to try next: the space cannot be read: {error}", run=run.index))
    shown = [run for run in runs if found.get(run.index)]
    rows = [row for run in shown for rung in found[run.index] for row in _data(run, rung)]
    columns = [
        *([Column(title="run", number=False)] if len(runs) > 1 else []),
        Column(title="expected to beat"), Column(title="not tried yet: what each stage reads", number=False),
    ]  # fmt: skip
    return Section(
        name="predictor",
        title="How well can results be predicted?",
        text=_TEXT,
        notes=notes,
        empty="" if found else f"it takes {FEWEST} trials with a result",
        panels=[Panel(name="predictor", figure=_figure(shown, found), wide=True)] if rows else [],
        table=Table(columns=columns, rows=table) if table else None,
        data=frame(rows),
    )


def _figure(runs: Sequence[Run], found: dict[int, list[Rung]]) -> Figure:
    last = max(rung.epoch for run in runs for rung in found[run.index])
    made = figure(xaxis=epoch_axis("epoch", last), yaxis={"title": {"text": "Spearman's rho"}})
    made.add_hline(y=0, line={"color": GREY, "width": 1})
    for run in runs:
        for place, (name, title) in enumerate(_LINES.items()):
            points = [(rung, of) for rung in found[run.index] if (of := getattr(rung, name)).value is not None]
            if points:
                made.add_scatter(
                    x=[rung.epoch + _APART * (place + len(_LINES) * run.index) for rung, _ in points],
                    y=[of.value for _, of in points],
                    error_y={"type": "data", "symmetric": False, "thickness": 1.2,
                             "array": [_distance(of.high, of.value) for _, of in points],
                             "arrayminus": [_distance(of.value, of.low) for _, of in points]},
                    customdata=[[rung.epoch, rung.later_n if name in ("error", "both") else rung.n]
                                for rung, _ in points],
                    hovertemplate="epoch %{customdata[0]}: rho %{y:.2f} over %{customdata[1]} trials",
                    mode="lines+markers",
                    line={"color": colour(run.index if len(runs) > 1 else place), "dash": dash(place), "width": 2},
                    marker={"size": 8},
                    name=f"{run.name}, {title}" if len(runs) > 1 else title,
                    meta={"run": run.index},
                    showlegend=True,
                )  # fmt: skip
    return made


def _row(run: Run, one: Suggestion, *, several: bool) -> Row:
    share = f"{100 * one.better_than:.0f} % of the results"
    return Row(
        run=run.index,
        cells=[
            *([Cell(text=run.name, order=run.name)] if several else []),
            Cell(text=share, order=one.better_than),
            Cell(order=one.architecture.describe(), markup=drawings(one.architecture)),
        ],
    )


def _data(run: Run, rung: Rung) -> Iterator[dict[str, Any]]:
    for name in _LINES:
        of: Correlation = getattr(rung, name)
        if of.value is not None:
            later = rung.later if name in ("error", "both") else rung.epoch
            n = rung.later_n if name in ("error", "both") else rung.n
            yield {"run": run.name, "epoch": rung.epoch, "ranked_by": name, "with_epoch": later, "n": n,
                   "rho": of.value, "rho_low": of.low, "rho_high": of.high}  # fmt: skip


def _with_interval(of: Correlation) -> str:
    if of.value is None:
        return "not defined"
    return f"{of.value:.2f}" + ("" if of.low is None else f" [{of.low:.2f}, {of.high:.2f}]")


def _distance(upper: float | None, lower: float | None) -> float | None:
    """A value may lie outside a percentile interval."""
    return None if upper is None or lower is None else max(0.0, upper - lower)
