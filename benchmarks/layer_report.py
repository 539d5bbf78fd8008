"""What one run of the benchmark of the layers prints and writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from comparison import Row
from timing import Machine


def table(rows: Iterable[Row]) -> str:
    """The rows of one layer or network: one line a variant and execution, in the memory format that costs it least."""
    best: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (row.variant, row.panel, row.window, row.execution)
        if key not in best or row.cost < best[key].cost:
            best[key] = row
    return "\n".join(["", _heading(next(iter(best.values()))), *map(_line, best.values())])


def write(path: Path, machine: Machine, rows: Iterable[Row]) -> None:
    """A CSV of one line a row, with the machine in front."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for kind in (Machine, Row) for field in fields(kind)])
        writer.writerows(map(_rounded, (asdict(machine) | asdict(row)).values()) for row in rows)


def _heading(row: Row) -> str:
    sizes = [f"{name} {value}" for name in ("C", "k", "size", "batch") if (value := getattr(row, name)) is not None]
    return f"{row.case}: {row.form}, {', '.join(sizes)}"


def _line(row: Row) -> str:
    panel = "" if row.panel is None else f"panel {row.panel}"
    if row.ms_median is not None:
        cost = f"{row.ms_median:9.2f} ms ({row.ms_min:.2f} to {row.ms_max:.2f})"
    elif row.saved_inputs is not None:
        cost = f"{row.saved_inputs:9.2f} inputs saved"
    else:
        cost = f"{row.peak_mib:9.1f} MiB"
    how = f"{row.window:<6} {row.memory_format:<14}{row.execution:<6}"
    line = f"  {row.variant:<14} {panel:<9} w = {how} {cost:<36}"
    if row.ratio is not None:
        line += f" ratio {row.ratio:5.2f}"
    if row.bar is not None and row.judged is not None:
        line += f"   bar {row.bar:.2f} {'held' if row.judged <= row.bar else 'missed'}"
    return line.rstrip()


def _rounded(value: object) -> object:
    return f"{value:.5g}" if isinstance(value, float) else value
