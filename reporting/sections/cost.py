"""What the search cost, and where each second went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reporting.data import frame
from reporting.runs import Run, Trial, moment
from reporting.section import Figure, Note, Panel, Section
from reporting.style import GREY, PALETTE, duration, figure, time_unit
from searchers.record import DUPLICATE

SCHEDULE, TRACK, WHOLE = "schedule", "track", "train and evaluate"
_PARTS = {
    SCHEDULE: PALETTE[3], "build": PALETTE[4], "data": PALETTE[2], "train": PALETTE[0], WHOLE: PALETTE[0],
    "evaluate": PALETTE[5], TRACK: PALETTE[1],
}  # fmt: skip
_TEXT = (
    "Seconds of all trials together. Track is what telling W&B or TensorBoard took of them, schedule what a trial took "
    "beside that and its epochs: being started, reporting, checkpoints, waiting for others."
)
_SUFFIX, _GPU, _JOULES = "_seconds", "gpu_utilisation", "gpu_joules"


def section(runs: Sequence[Run]) -> Section:
    """A bar for each run; the utilisation of GPUs where it was recorded."""
    rows = [_row(run, trial) for run in runs for trial in run.trials if _took_time(trial)]
    parts = {run.index: _sums([row for row in rows if row["run"] == run.name]) for run in runs}
    panels = []
    if any(parts.values()):
        bars = _figure(runs, parts)
        panels.append(Panel(name="time", figure=bars, height=120 + 44 * len(runs), wide=True))
    if any(_GPU in row for row in rows):
        panels.append(Panel(name="gpu", title="GPU utilisation", figure=_utilisation(runs, rows), wide=True))
    return Section(
        name="cost",
        title="Time and cost",
        text=_TEXT,
        notes=[note for run in runs for note in _notes(run, parts[run.index], rows)],
        empty="" if panels else "no trial has recorded its time yet",
        panels=panels,
        data=frame(rows),
    )


def _took_time(trial: Trial) -> bool:
    return trial.record.outcome != DUPLICATE and (bool(trial.metrics) or "seconds" in trial.record.facts)


def _row(run: Run, trial: Trial) -> dict[str, Any]:
    """Seconds of one trial by what they went to."""
    row: dict[str, Any] = {"run": run.name, "trial": trial.record.number}
    for epoch in trial.metrics:
        known = {name.removesuffix(_SUFFIX): value for name, value in epoch.items()
                 if name.endswith(_SUFFIX) and math.isfinite(value)}  # fmt: skip
        rest = epoch.get("seconds", 0.0) - sum(known.values())
        for part, seconds in {**known, **({} if known else {WHOLE: rest})}.items():
            row[part] = row.get(part, 0.0) + seconds
    epochs = sum(epoch.get("seconds", 0.0) for epoch in trial.metrics)
    if (whole := trial.record.facts.get("seconds")) is not None and trial.metrics:
        tracked = trial.record.facts.get("tracked")
        row |= {} if tracked is None else {TRACK: tracked}
        row[SCHEDULE] = max(0.0, whole - epochs - (tracked or 0.0))  # of a resumed trial, of its last process alone
    elif whole is not None:
        row[WHOLE] = whole
    if used := [epoch[_GPU] for epoch in trial.metrics if math.isfinite(epoch.get(_GPU, math.nan))]:
        row[_GPU] = sum(used) / len(used)
    if joules := [epoch[_JOULES] for epoch in trial.metrics if math.isfinite(epoch.get(_JOULES, math.nan))]:
        row[_JOULES] = math.fsum(joules)
    return row


def _sums(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = dict.fromkeys((*_PARTS, *(name for row in rows for name in row)))
    parts = [name for name in names if name not in ("run", "trial", _GPU, _JOULES)]
    sums = {name: math.fsum(row.get(name, 0.0) for row in rows) for name in parts}
    return {name: seconds for name, seconds in sums.items() if seconds > 0}


def _figure(runs: Sequence[Run], parts: Mapping[int, Mapping[str, float]]) -> Figure:
    whole = max(sum(of.values()) for of in parts.values())
    unit, size = time_unit(whole)
    made = figure(
        barmode="stack",
        xaxis={"title": {"text": f"{unit} of all trials"}},
        yaxis={"autorange": "reversed", "showticklabels": len(runs) > 1, "type": "category"},
        bargap=0.35,
        uniformtext={"mode": "hide", "minsize": 11},
    )
    drawn: set[str] = set()
    for run in runs:
        total = sum(parts[run.index].values())
        for part, seconds in parts[run.index].items():
            made.add_bar(
                orientation="h",
                x=[seconds / size],
                y=[run.name],
                name=part,
                legendgroup=part,
                showlegend=part not in drawn,
                marker={"color": _PARTS.get(part, GREY)},
                text=[f"{seconds / total:.0%}"],
                textposition="inside",
                textangle=0,
                insidetextanchor="middle",
                hovertemplate=f"{part}: {duration(seconds)}, {seconds / total:.1%}",
                meta={"run": run.index},
            )
            drawn.add(part)
    return made


def _utilisation(runs: Sequence[Run], rows: Sequence[Mapping[str, Any]]) -> Figure:
    made = figure(
        xaxis={"title": {"text": "trial"}}, yaxis={"title": {"text": "GPU utilisation in %"}, "range": [0, 102]}
    )
    for run in runs:
        known = [row for row in rows if row["run"] == run.name and _GPU in row]
        made.add_scatter(x=[row["trial"] for row in known], y=[100 * row[_GPU] for row in known], mode="markers",
                         marker={"color": PALETTE[run.index % len(PALETTE)], "size": 7}, name=run.name,
                         meta={"run": run.index}, hovertemplate="trial %{x}: %{y:.0f} %")  # fmt: skip
    return made


def _notes(run: Run, parts: Mapping[str, float], rows: Sequence[Mapping[str, Any]]) -> list[Note]:
    """How long it took, how much of the machine's time that was, and what the GPUs used."""
    total = sum(parts.values())
    moments = [at for record in run.records for what in ("started", "finished") if (at := moment(record, what))]
    if not total or not moments:
        return []
    wall = (max(moments) - min(moments)).total_seconds()
    on = run.environment.get("cluster")
    line = f"{duration(total)} of trials in {duration(wall)}" + (f" on {on}" if on else "")
    line += f", {total / wall:.1f} at a time on average" if wall > 0 else ""
    joules = math.fsum(row.get(_JOULES, 0.0) for row in rows if row["run"] == run.name)
    line += f", {joules / 3.6e6:.3g} kWh of GPU energy" if joules else ""
    return [Note(text=line, run=run.index)]
