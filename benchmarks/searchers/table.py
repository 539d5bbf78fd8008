"""Spaces in which every training is known in advance: what searchers are measured on without training anything.

Axes of the arrays: A architectures, S seeds, F fidelities (epochs at which an error is known).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.knobs import Knob, Value
from search_spaces.space import checked_values

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An architecture of a table: what `TableSpace.decode` returns."""

    row: int
    """Its place in the table."""
    name: str
    """Unique in the table."""

    def fingerprint(self) -> str:
        """Its name, under which a search knows it."""
        return self.name

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"name": self.name}


@dataclass(frozen=True, kw_only=True)
class TableSpace:
    """Knob vectors that a table has an architecture for; several vectors may have the same one."""

    name: str
    """Short name."""
    knobs: tuple[Knob, ...]
    """The dimensions, all of them always active."""
    entries: Mapping[tuple[Value, ...], Entry]
    """Architecture by knob values, in the order of the knobs."""

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Of the knobs, in order."""
        return tuple(knob.name for knob in self.knobs)

    def decode(self, values: Mapping[str, Value]) -> Any:
        """The entry of a knob vector.

        Raises:
            ValueError: a knob missing, unknown or out of its domain, or a vector that the table does not have.
        """
        entry = self._find(values) or self._find(checked_values(self.knobs, values))
        if entry is None:
            raise ValueError(f"table {self.name} has no architecture with {dict(values)}")
        return entry

    def to_dict(self) -> dict[str, Any]:
        """Plain data that identifies the space."""
        return {"space": "table", "name": self.name, "knobs": [knob.to_dict() for knob in self.knobs]}

    def _find(self, values: Mapping[str, Value]) -> Entry | None:
        if len(values) != len(self.names):
            return None
        return self.entries.get(tuple(values.get(name, "") for name in self.names))


@dataclass(frozen=True, kw_only=True)
class Table:
    """Every training of every architecture of a space.

    Raises:
        ValueError: arrays whose shapes do not fit, an architecture without a training, or one with a gap.
    """

    space: TableSpace
    """Knobs, and which architecture a vector has."""
    epochs: tuple[int, ...]
    """After which an error is known, ascending; the last one ends a training."""
    errors: Floats
    """(A, S, F) validation errors, fractions; NaN for a seed that an architecture was not trained with."""
    seconds: Floats
    """(A, S, F) seconds from the start of a training to the end of that epoch."""
    costs: Mapping[str, Floats]
    """(A,) what else is known of an architecture: macs, params, latency and so on."""

    def __post_init__(self) -> None:
        shape = (len({entry.row for entry in self.space.entries.values()}), self.errors.shape[1], len(self.epochs))
        given = {"errors": self.errors.shape, "seconds": self.seconds.shape}
        for name, wanted in [*((name, shape) for name in given), *((name, shape[:1]) for name in self.costs)]:
            got = given[name] if name in given else self.costs[name].shape
            if got != wanted:
                raise ValueError(f"table {self.space.name}: {name} must have the shape {wanted}, got {got}")
        trained = np.isfinite(self.errors)
        if (trained.any(axis=2) != trained.all(axis=2)).any():
            raise ValueError(f"table {self.space.name}: a training must have an error at every epoch")
        if not (np.diff(self.seconds, axis=2, prepend=0)[trained] > 0).all():
            raise ValueError(f"table {self.space.name}: seconds count from the start, so they must grow at every epoch")
        if not trained.any(axis=(1, 2)).all():
            row = int(np.flatnonzero(~trained.any(axis=(1, 2)))[0])
            raise ValueError(f"table {self.space.name}: no training of architecture {row}")

    def __len__(self) -> int:
        return len(self.errors)

    @functools.cached_property
    def mean_errors(self) -> Floats:
        """(A, F) over the seeds."""
        return np.asarray(np.nanmean(self.errors, axis=1))

    @functools.cached_property
    def mean_seconds(self) -> Floats:
        """(A, F) over the seeds."""
        return np.asarray(np.nanmean(self.seconds, axis=1))

    @property
    def truth(self) -> Floats:
        """(A,) what an architecture is judged by: the mean over the seeds of the error at the end of its training."""
        return self.mean_errors[:, -1]

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Errors and seconds, (A, F), of one training of every architecture, each seed as likely as the others."""
        trained = np.isfinite(self.errors[:, :, -1])
        nth = rng.integers(trained.sum(axis=1))
        seed = np.argmax(np.cumsum(trained, axis=1) > nth[:, None], axis=1)
        rows = np.arange(len(self))
        return self.errors[rows, seed], self.seconds[rows, seed]

    def objectives(self, names: Sequence[str]) -> Floats:
        """(A, m) true values of the objectives, lower is better.

        Raises:
            ValueError: one that the table does not know.
        """
        known = {"error": self.truth, **self.costs}
        for name in names:
            if name not in known:
                raise ValueError(f"table {self.space.name} knows {', '.join(known)}; it has no {name}")
        return np.stack([known[name] for name in names], axis=1)
