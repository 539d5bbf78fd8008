"""The best architectures, with a drawing of what each stage reads."""

from __future__ import annotations

from collections.abc import Sequence

from reporting.data import of_trials
from reporting.drawing import drawings
from reporting.runs import Run, Trial
from reporting.section import Cell, Column, Row, Section, Table
from reporting.style import label, percent, short
from searchers.objectives import ERROR, OBJECTIVES
from searchers.record import best_first, front, place

_TEXT = (
    "Those trained furthest first, among them the lowest validation error. A drawing has a row for each step of a "
    "layer and a column for each group that it may read, oldest first: the input's (blue where it is read), then the "
    "outputs of earlier steps (orange). Below it: blocks, groups and their channels, window, form; B is bottleneck."
)
_LIMITS = " Those beyond the limits of their search come after all that are within."
_HEADS = {"params": "params", "macs": "MACs", "serial_depth": "depth", "activation_bytes": "activations"}
"""Of costs, shorter than their names."""
_FRONT = " On the front are those that nothing beats in {objectives} at once."


def section(runs: Sequence[Run], *, top: int) -> Section:
    """The table of the best `top` of each run."""
    chosen = [(run, trial) for run in runs for trial in _best(run, top)]
    chosen.sort(key=lambda pair: place(pair[1].record))
    costs = [name for name in OBJECTIVES if name != ERROR and any(name in t.record.measures() for _, t in chosen)]
    fronts = {run.index: {r.number for r in front(run.records, run.objectives)}
              for run in runs if len(run.objectives) > 1}  # fmt: skip
    columns = [
        *([Column(title="run", number=False)] if len(runs) > 1 else []),
        *(Column(title=title) for title in ("trial", "error")),
        Column(title="what each stage reads", number=False),
        *(Column(title=title) for title in ("epochs", *(_HEADS.get(name, label(name)) for name in costs))),
        *([Column(title="front", number=False)] if fronts else []),
    ]
    beyond = any(not trial.record.feasible for _, trial in chosen)
    columns += [Column(title="beyond", number=False)] if beyond else []
    named = {" and ".join(map(label, run.objectives)) for run in runs if run.index in fronts}
    return Section(
        name="best",
        title="Best architectures",
        text=_TEXT
        + (_LIMITS if beyond else "")
        + (_FRONT.format(objectives=" or ".join(sorted(named))) if fronts else ""),
        empty="" if chosen else "no trial has a result yet",
        table=Table(
            columns=columns,
            rows=[
                Row(run=run.index, cells=[
                    *([Cell(text=run.name, order=run.name)] if len(runs) > 1 else []),
                    *_of_trial(trial, costs),
                    *([_on_front(trial, fronts.get(run.index, set()))] if fronts else []),
                    *([_beyond(trial)] if beyond else []),
                ])
                for run, trial in chosen
            ],
        ),
        data=of_trials(chosen),
    )  # fmt: skip


def _best(run: Run, top: int) -> list[Trial]:
    by_number = {trial.record.number: trial for trial in run.trials}
    return [by_number[record.number] for record in best_first(run.records)[:top]]


def _of_trial(trial: Trial, costs: Sequence[str]) -> list[Cell]:
    record, measures = trial.record, trial.record.measures()
    return [
        Cell(text=str(record.number), order=record.number),
        Cell(text=percent(record.error), order=record.error),
        _drawn(trial),
        Cell(text=str(record.epochs), order=record.epochs),
        *(Cell(text=short(measures.get(name)), order=measures.get(name)) for name in costs),
    ]


def _on_front(trial: Trial, front_numbers: set[int]) -> Cell:
    there = trial.record.number in front_numbers
    return Cell(text="yes" if there else "", order=0 if there else 1)


def _beyond(trial: Trial) -> Cell:
    """By how much of it each limit is broken."""
    violations = trial.record.facts.get("violations", {})
    text = ", ".join(f"{label(name)} by {percent(excess)}" for name, excess in violations.items())
    return Cell(text=text, order=sum(violations.values()))


def _drawn(trial: Trial) -> Cell:
    if trial.architecture is None:
        return Cell(text=str(trial.record.facts.get("architecture", "")))
    return Cell(order=trial.architecture.describe(), markup=drawings(trial.architecture))
