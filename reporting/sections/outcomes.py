"""What became of the proposals, and what duplicates and early stopping saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reporting.data import frame
from reporting.runs import Run
from reporting.section import Figure, Note, Panel, Section
from reporting.style import LIGHT, PALETTE, duration, figure
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING

_COLOURS = {
    COMPLETED: PALETTE[0], PRUNED: PALETTE[5], RUNNING: PALETTE[4], DUPLICATE: PALETTE[2], REFUSED: LIGHT,
    FAILED: PALETTE[1],
}  # fmt: skip
_NAMES = {PRUNED: "stopped early"}
_TEXT = (
    "A duplicate computes what another trial did and is answered from the store; a refused proposal is outside the "
    "budget or no architecture. Neither is trained."
)


def section(runs: Sequence[Run]) -> Section:
    """A bar for each run."""
    counts = {run.index: Counter(record.outcome for record in run.records) for run in runs}
    rows = [{"run": run.name, "outcome": outcome, "trials": counts[run.index][outcome]}
            for run in runs for outcome in _COLOURS]  # fmt: skip
    there = any(row["trials"] for row in rows)
    panel = Panel(name="outcomes", figure=_figure(runs, counts), height=120 + 44 * len(runs), wide=True)
    return Section(
        name="outcomes",
        title="What became of the proposals",
        text=_TEXT,
        notes=[Note(text=line, run=run.index) for run in runs for line in _saved(run)],
        empty="" if there else "nothing was proposed yet",
        panels=[panel] if there else [],
        data=frame(rows),
    )


def _figure(runs: Sequence[Run], counts: dict[int, Counter[str]]) -> Figure:
    made = figure(
        barmode="stack",
        xaxis={"title": {"text": "proposals"}, "tickformat": ",d"},
        yaxis={"autorange": "reversed", "showticklabels": len(runs) > 1, "type": "category"},
        bargap=0.35,
        uniformtext={"mode": "hide", "minsize": 11},
    )
    for outcome, colour in _COLOURS.items():
        for run in runs:
            if counts[run.index][outcome]:
                made.add_bar(
                    orientation="h",
                    x=[counts[run.index][outcome]],
                    y=[run.name],
                    name=_NAMES.get(outcome, outcome),
                    legendgroup=outcome,
                    showlegend=not any(counts[other.index][outcome] for other in runs[: run.index]),
                    marker={"color": colour},
                    texttemplate="%{x:,}",
                    textposition="inside",
                    textangle=0,
                    insidetextanchor="middle",
                    hovertemplate=f"%{{x:,}} {_NAMES.get(outcome, outcome)}",
                    meta={"run": run.index},
                )
    return made


def _saved(run: Run) -> list[str]:
    """What duplicates and stopping early spared, in epochs and in the time that the originals took."""
    by_number = {record.number: record for record in run.records}
    originals = [by_number.get(r.facts.get("duplicate_of", -1)) for r in run.records if r.outcome == DUPLICATE]
    known = [record for record in originals if record is not None]
    seconds = sum(record.facts.get("seconds") or 0.0 for record in known)
    found = []
    if originals:
        time = f", which took {duration(seconds)}" if seconds else ""
        epochs = sum(record.epochs for record in known)
        found.append(f"{len(originals):,} duplicates spared {epochs:,} epochs{time}")
    planned = run.description.get("trial", {}).get("epochs")
    stopped = [record for record in run.records if record.outcome == PRUNED]
    if stopped and isinstance(planned, int):
        epochs = sum(max(0, planned - record.epochs) for record in stopped)
        found.append(f"stopping {len(stopped):,} trials early spared {epochs:,} epochs")
    return found
