"""How much of what a search could reach its Pareto front has come to dominate, trial by trial and over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reporting.data import frame
from reporting.runs import Run, moment
from reporting.section import Figure, Note, Panel, Section
from reporting.style import colour, figure, label, time_unit
from searchers.hypervolume import Hypervolume
from searchers.objectives import OBJECTIVES
from searchers.record import TrialRecord, compared

_TEXT = (
    "The share that the Pareto front dominates of the box from the best value of each objective to the reference "
    "point: more is better. The reference lies a tenth of the range beyond the worst value of each objective. Best and "
    "worst are of the trials that were trained to the end, and are within the limits where there are some, of all "
    "searches here that minimise the same. So the lines of one report can be compared; those of two reports cannot."
)
MARGIN = 0.1
"""From the worst value of an objective to the reference point, as a share of the range."""
_BY = {"trial": "by trial", "seconds": "by time"}
Rows = Sequence[Mapping[str, Any]]


def section(runs: Sequence[Run]) -> Section:
    """By number of the trial and by time, for the searches of several objectives; figures of their own for each set."""
    kinds = list(dict.fromkeys(_objectives(run) for run in runs if len(run.objectives) > 1))
    panels, notes, every = [], [], []
    for objectives in kinds:
        same = [run for run in runs if _objectives(run) == objectives]
        rows = _rows(same, objectives)
        panels += _panels(same, rows, objectives, alone=len(kinds) == 1)
        notes += [_note(run, rows[run.index][-1]) for run in same if rows[run.index]]
        every += [row for of_run in rows.values() for row in of_run]
    return Section(
        name="hypervolume",
        title="Hypervolume over time",
        text=_TEXT,
        notes=notes,
        empty="" if panels else "no trial was trained to the end yet",
        panels=panels,
        data=frame(every),
    )


def _objectives(run: Run) -> tuple[str, ...]:
    """In an order of our own: the volume does not depend on that."""
    return tuple(name for name in OBJECTIVES if name in run.objectives)


def _rows(runs: Sequence[Run], objectives: tuple[str, ...]) -> dict[int, list[dict[str, Any]]]:
    """By run, a row for each trial that counts, in order of their numbers."""
    found = {run.index: _of_run(run, objectives) for run in runs}
    box = _box([[row[name] for name in objectives] for rows in found.values() for row in rows])
    for rows in found.values():
        timed = sorted((row for row in rows if row["seconds"] is not None), key=lambda row: float(row["seconds"]))
        for by, ordered in (("trial", rows), ("seconds", timed)):
            _dominate(ordered, objectives, box, by)
        for row in rows:
            row |= {f"reference_{name}": value for name, (_, value) in zip(objectives, box, strict=True)}
    return found


def _of_run(run: Run, objectives: tuple[str, ...]) -> list[dict[str, Any]]:
    begun = min((start for record in run.records if (start := moment(record, "started"))), default=None)
    return [
        {"run": run.name, "trial": record.number, "seconds": _seconds(record, begun),
         **{name: record.measures()[name] for name in objectives}}
        for record in compared(run.records, objectives)
    ]  # fmt: skip


def _seconds(record: TrialRecord, begun: Any) -> float | None:
    end = moment(record, "finished")
    return None if begun is None or end is None else float((end - begun).total_seconds())


def _box(vectors: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """The best value and the reference, by objective; where all values are the same there is no range to go by."""
    ends = [(min(values), max(values)) for values in zip(*vectors, strict=True)]
    return [(best, worst + (MARGIN * (worst - best) or 1.0)) for best, worst in ends]


def _dominate(
    rows: Sequence[dict[str, Any]], objectives: Sequence[str], box: Sequence[tuple[float, float]], by: str
) -> None:
    """Add to each row what it and those before it dominate, and how many are on their front.

    The box is scaled to one of side 1, because multiply-adds beside errors would lose digits.
    """
    volume = Hypervolume([1.0] * len(objectives))
    for row in rows:
        scaled = [(row[name] - best) / (end - best) for name, (best, end) in zip(objectives, box, strict=True)]
        row[f"hypervolume_by_{by}"], row[f"front_by_{by}"] = volume.add(scaled), volume.front


def _panels(runs: Sequence[Run], rows: Mapping[int, Rows], objectives: tuple[str, ...], *, alone: bool) -> list[Panel]:
    of, known = " and ".join(map(label, objectives)), [row for of_run in rows.values() for row in of_run]
    return [
        Panel(
            name="-".join(("hypervolume", *(() if alone else objectives), by)),
            title=how if alone else f"{of}, {how}",
            figure=_figure(runs, rows, by),
        )
        for by, how in _BY.items()
        if any(row[by] is not None for row in known)
    ]


def _figure(runs: Sequence[Run], rows: Mapping[int, Rows], by: str) -> Figure:
    unit, size = time_unit(max(row[by] or 0.0 for of in rows.values() for row in of)) if by == "seconds" else ("", 1)
    made = figure(
        xaxis={"title": {"text": f"{unit} since the search began" if unit else by}},
        yaxis={"title": {"text": "share dominated in %"}},
    )
    for run in runs:
        placed = sorted((row for row in rows[run.index] if row[by] is not None), key=lambda row: float(row[by]))
        made.add_scatter(
            x=[row[by] / size for row in placed],
            y=[100 * row[f"hypervolume_by_{by}"] for row in placed],
            customdata=[row[f"front_by_{by}"] for row in placed],
            mode="lines",
            line={"color": colour(run.index), "shape": "hv", "width": 2},
            hovertemplate="%{y:.2f} % by a front of %{customdata} trials",
            name=run.name,
            meta={"run": run.index},
            showlegend=len(runs) > 1,
        )
    return made


def _note(run: Run, last: Mapping[str, Any]) -> Note:
    count = last["front_by_trial"]
    text = f"{100 * last['hypervolume_by_trial']:.2f} % by a front of {count} trial{'' if count == 1 else 's'}"
    return Note(text=text, run=run.index)
