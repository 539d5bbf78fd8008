"""What a search says at its end: the best that it found, and what to do with it next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from searchers.objectives import ERROR, MEASURED
from searchers.population import describe
from searchers.record import TrialRecord, best_first, front
from seqconv import Architecture

FILE_WIDTH = 1000
"""Columns that a file has, at least: no line of the table is folded there."""
WIDE, NARROW = 100, 80
"""Columns below which the architectures stand below the numbers, and below which the terminal has to fold the lines."""
_LABELS = {"params": "params", "macs": "MACs", "serial_depth": "depth"}
"""Headings of what every table has besides the error; other objectives stand under their own names."""


def print_best(console: Console, records: Sequence[TrialRecord], objectives: tuple[str, ...], rows: int = 5) -> None:
    """The best trials, or those of the Pareto front, in a table that fits a terminal.

    Args:
        console: where to.
        records: all trials of the search; nothing is printed where none has a result.
        objectives: what was minimised.
        rows: trials at most.
    """
    of_front = front(records, objectives) if len(objectives) > 1 else []
    shown = (of_front or best_first(records))[:rows]
    if not shown:
        return
    if of_front:
        console.print(
            f"Pareto front of {', '.join(objectives)}: {_count(len(of_front), len(shown))}, lowest error first"
        )
    width = max(console.width, NARROW if console.is_terminal else FILE_WIDTH)
    for table in _tables(shown, objectives, wide=width >= WIDE):
        Console(file=console.file, width=width).print(table)
    if shown[0].recipe is not None:
        console.print(describe(records, shown[0].number))
    if beyond := [record for record in shown if not record.feasible]:
        none = "none of all trials is within them" if len(beyond) == len(shown) else "ranked last"
        console.print(f"beyond the limits, {none}: {', '.join(f'trial {record.number}' for record in beyond)}")


def next_commands(folder: Path, records: Sequence[TrialRecord], objectives: tuple[str, ...]) -> list[str]:
    """What to do with the results of a search: see them, train the best in full, take the best away.

    Of several objectives the best are the front, where there is one.
    """
    run = shlex.quote(f"run={folder}")
    costs = [name for name in objectives if name != ERROR and name not in MEASURED and front(records, objectives)]
    chosen = shlex.quote(f"pareto=[{','.join(costs)}]") if costs else "top=3"
    taken = f"trial=pareto cost={costs[0]}" if costs else "trial=best"
    return [
        f"next: python report.py {run}",
        f"next: python promote.py {run} {chosen}",
        f"next: python export.py {run} {taken} out=exported",
    ]


def _tables(records: Sequence[TrialRecord], objectives: tuple[str, ...], *, wide: bool) -> list[Table]:
    """The numbers, and the architectures beside them or, in a table of their own, below."""
    labels = {**{name: name for name in objectives if name != ERROR}, **_LABELS}
    numbers = _table("trial", "error", "epochs", *labels.values())
    architectures = numbers if wide else _table("trial")
    architectures.add_column("best architectures: per stage blocks x groups, g and k, window, form", overflow="fold")
    for record in records:
        costs = [_number(record.facts.get(name)) for name in labels]
        row = [str(record.number), f"{record.error:.4f}", str(record.epochs), *costs]
        architecture = Architecture.from_dict(record.facts["architecture"]).describe()
        if wide:
            numbers.add_row(*row, architecture)
        else:
            numbers.add_row(*row)
            architectures.add_row(row[0], architecture)
    return [numbers] if wide else [numbers, architectures]


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _count(found: int, shown: int) -> str:
    return f"{found} trials" if found == shown else f"{found} trials, {shown} of them here"
