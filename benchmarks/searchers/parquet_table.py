"""A table from a Parquet file with one row for each training.

| column | meaning |
|---|---|
| knob.NAME | value of the knob NAME; at least one such column |
| fingerprint | of the architecture: rows that share it are trainings of one. Without it every knob vector is one |
| validation_error_E | error after epoch E, a fraction; at least one such column |
| seconds_E | from the start of the training to the end of epoch E |
| params, macs, serial_depth, activation_bytes, latency | costs, if any; the mean over the trainings counts |
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from table import Entry, Floats, Table, TableSpace

from search_spaces.knobs import Categorical, Float, Integer, Knob, Value
from searchers import objectives

if TYPE_CHECKING:
    from pandas import DataFrame

KNOB, FINGERPRINT, ERROR, SECONDS = "knob.", "fingerprint", "validation_error_", "seconds_"


def parquet_table(path: Path) -> Table:
    """Read one.

    Raises:
        ValueError: starting with the path: a file that cannot be read, a column missing, or a value that is none.
    """
    import pandas as pd

    try:
        return from_frame(path.stem, pd.read_parquet(path))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from None


def from_frame(name: str, frame: DataFrame) -> Table:
    """The table of such a file's rows.

    Raises:
        ValueError: a column missing, or a value that is none.
    """
    knob_columns = [column for column in frame.columns if column.startswith(KNOB)]
    epochs = sorted(int(match[1]) for column in frame.columns if (match := re.fullmatch(rf"{ERROR}(\d+)", column)))
    error_columns, time_columns = ([f"{prefix}{epoch}" for epoch in epochs] for prefix in (ERROR, SECONDS))
    if not knob_columns or not epochs or not set(time_columns) <= set(frame.columns):
        needed = f"{KNOB}NAME, {ERROR}E and for each of these {SECONDS}E"
        raise ValueError(f"a table needs the columns {needed}; got {', '.join(frame.columns)}")
    used = [*knob_columns, *error_columns, *time_columns]
    for column in used:
        if frame[column].isna().any():
            raise ValueError(f"column {column} has no value in row {int(frame[column].isna().argmax())}")
    vectors = [tuple(_plain(value) for value in row) for row in frame[knob_columns].to_numpy(dtype=object)]
    names = frame[FINGERPRINT].tolist() if FINGERPRINT in frame else [str(vector) for vector in vectors]
    rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
    entries: dict[tuple[Value, ...], Entry] = {}
    for vector, fingerprint in zip(vectors, names, strict=True):
        entry = entries.setdefault(vector, Entry(row=rows[fingerprint], name=fingerprint))
        if entry.name != fingerprint:
            raise ValueError(f"{vector} has two fingerprints, {entry.name} and {fingerprint}")
    knobs = [_knob(column, [vector[i] for vector in entries]) for i, column in enumerate(knob_columns)]
    architectures = [rows[fingerprint] for fingerprint in names]
    return Table(
        space=TableSpace(name=name, knobs=tuple(knobs), entries=entries),
        epochs=tuple(epochs),
        errors=_stacked(frame[error_columns].to_numpy(dtype=float), architectures),
        seconds=_stacked(frame[time_columns].to_numpy(dtype=float), architectures),
        costs=_costs(frame, architectures),
    )


def _stacked(trainings: Floats, architectures: list[int]) -> Floats:
    """(A, S, F) from (trainings, F), with NaN where an architecture has fewer than S."""
    seeds = np.bincount(architectures).max()
    stacked = np.full((max(architectures) + 1, seeds, trainings.shape[1]), np.nan)
    done = [0] * len(stacked)
    for training, row in zip(trainings, architectures, strict=True):
        stacked[row, done[row]] = training
        done[row] += 1
    return stacked


def _costs(frame: DataFrame, architectures: list[int]) -> dict[str, Floats]:
    groups = frame.groupby(np.asarray(architectures))
    known = [name for name in objectives.OBJECTIVES if name != objectives.ERROR and name in frame]
    return {name: groups[name].mean().to_numpy(dtype=float) for name in known}


def _knob(column: str, values: list[Value]) -> Knob:
    """With an order where the values are evenly spaced numbers."""
    name, distinct = column.removeprefix(KNOB), sorted(set(values), key=lambda value: (str(type(value)), value))
    if len(distinct) > 1 and {type(value) for value in distinct} <= {int, float}:
        numbers: list[Any] = distinct
        steps = np.diff(numbers)
        if np.allclose(steps, steps[0]):
            kind = Integer if isinstance(numbers[0], int) else Float
            return kind(name=name, low=numbers[0], high=numbers[-1], step=numbers[1] - numbers[0])
    return Categorical(name=name, choices=tuple(distinct))


def _plain(value: Any) -> Any:
    """A Python value of one of numpy's."""
    return value.item() if isinstance(value, np.generic) else value
