"""What a report is made of: sections with figures or a table, each with the data behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

Figure = Any
"""A `plotly.graph_objects.Figure`. Traces of one run among several have `meta = {"run": index}`."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure."""

    name: str
    """Of its image file, and unique in the report."""
    figure: Figure
    """What is drawn."""
    title: str = ""
    """Above it."""
    run: int | None = None
    """Index of the run that it is of; None where it is of all."""
    height: int = 380
    """Pixels."""
    min_width: int = 0
    """Pixels below which it is scrolled rather than shrunk."""
    wide: bool = False
    """Takes the whole width of the page."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str = ""
    """What is shown."""
    order: float | str | None = None
    """What it is sorted by; None comes last."""
    markup: str = ""
    """HTML of our own making below the text, such as a drawing."""
    details: str = ""
    """Longer text, folded away."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table."""

    cells: Sequence[Cell]
    """A cell for each column."""
    run: int
    """Index of the run that it is of."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    """Its head."""
    number: bool = True
    """Aligned to the right."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that is sorted by a click on the head of a column."""

    columns: Sequence[Column]
    """From left to right."""
    rows: Sequence[Row]
    """In the order in which they are first shown."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A finding in words."""

    text: str
    """One line."""
    run: int
    """Index of the run that it is of."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report."""

    name: str
    """Of its place in the page, and of its data files."""
    title: str
    """Its heading."""
    text: str = ""
    """How to read it."""
    notes: Sequence[Note] = ()
    """Findings in words."""
    empty: str = ""
    """Why there is nothing to show, where there is not."""
    panels: Sequence[Panel] = ()
    """Its figures."""
    table: Table | None = None
    """Its table."""
    data: DataFrame | None = field(default=None, compare=False)
    """The data behind it; None where there is none."""
