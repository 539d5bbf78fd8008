"""What failed and what was refused, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reporting.data import of_trials
from reporting.runs import Run, Trial
from reporting.section import Cell, Column, Row, Section, Table
from searchers.record import FAILED, REFUSED

_TEXT = "Failed trials and refused proposals, those with the same reason in one row; numbers in reasons are left out."
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,._]*(?:e[+-]?\d+)?")
_LISTED, _LONGEST = 12, 4000
"""Numbers of trials in a row, and characters of a reason in full."""


def section(runs: Sequence[Run]) -> Section:
    """A table of reasons, the most frequent first."""
    chosen = [(run, trial) for run in runs for trial in run.trials if trial.record.outcome in (FAILED, REFUSED)]
    groups: dict[tuple[int, str, str], list[Trial]] = {}
    for run, trial in chosen:
        key = (run.index, trial.record.outcome, _NUMBER.sub("\N{HORIZONTAL ELLIPSIS}", _last_line(trial)))
        groups.setdefault(key, []).append(trial)
    ordered = sorted(groups.items(), key=lambda group: (group[0][1] != FAILED, -len(group[1])))
    names = {run.index: run.name for run in runs}
    columns = [
        *([Column(title="run", number=False)] if len(runs) > 1 else []),
        Column(title="outcome", number=False),
        Column(title="trials"),
        Column(title="reason", number=False),
        Column(title="numbers", number=False),
    ]
    rows = [
        Row(run=index, cells=[
            *([Cell(text=names[index], order=names[index])] if len(runs) > 1 else []),
            Cell(text=outcome, order=outcome),
            Cell(text=f"{len(trials):,}", order=len(trials)),
            Cell(text=reason if len(trials) > 1 else _last_line(trials[0]), order=reason, details=_whole(trials[0])),
            Cell(text=_listed(trials), order=trials[0].record.number),
        ])
        for (index, outcome, reason), trials in ordered
    ]  # fmt: skip
    return Section(
        name="failures",
        title="What failed, and why",
        text=_TEXT if rows else "",
        empty="" if rows else "nothing failed, and no proposal was refused",
        table=Table(columns=columns, rows=rows),
        data=of_trials(chosen),
    )


def _reason(trial: Trial) -> str:
    return str(trial.record.facts.get("reason") or "no reason was recorded").strip()


def _last_line(trial: Trial) -> str:
    return _reason(trial).splitlines()[-1].strip()


def _whole(trial: Trial) -> str:
    """The reason in full where that is more than its last line; its end, which says most, where it is long."""
    reason = _reason(trial)
    if "\n" not in reason:
        return ""
    return reason if len(reason) <= _LONGEST else f"\N{HORIZONTAL ELLIPSIS}{reason[-_LONGEST:]}"


def _listed(trials: Sequence[Trial]) -> str:
    numbers = ", ".join(str(trial.record.number) for trial in trials[:_LISTED])
    more = len(trials) - _LISTED
    return f"{numbers} and {more:,} more" if more > 0 else numbers
