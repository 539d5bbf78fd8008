"""What a search minimises, and how results are compared where that is several things. No Optuna.

The order of two results of several objectives is Pareto's: one dominates another where it is nowhere worse and
somewhere better. Ranks are those of non-dominated sorting (Deb et al., IEEE TEC 2002): 0 for what nothing dominates, 1
for what only rank 0 dominates, and so on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from search_spaces.budget import Budget
from seqconv import validation

ERROR = "error"
MEASURED: Mapping[str, str] = {"latency": "ms", "energy": "mJ"}
"""What takes a measurement, in the worker, before training, with its unit."""
OBJECTIVES: Mapping[str, str] = {
    ERROR: "validation error, a fraction",
    "params": "trainable parameters",
    "macs": "multiply-adds for one image",
    "serial_depth": "convolutions that follow each other",
    "activation_bytes": "bytes kept for the backward pass of one image",
    "latency": f"{MEASURED['latency']} for a forward pass on the trial's device",
    "energy": f"{MEASURED['energy']} of the GPU for a forward pass",
}
"""Everything a search can minimise, with its unit."""


def check(objectives: Any) -> tuple[str, ...]:
    """The objectives of a search as a tuple.

    Raises:
        ValueError: none, an unknown one, one twice, or the error missing.
    """
    names = [objectives] if isinstance(objectives, str) else objectives
    if not isinstance(names, Sequence) or not names:
        raise ValueError(f"objective must be error or a list such as [error, macs], got {objectives!r}")
    for name in names:
        validation.one_of("objective", name, tuple(OBJECTIVES))
    if len(set(names)) < len(names):
        raise ValueError(f"objective names one twice: {', '.join(names)}")
    if ERROR not in names:
        raise ValueError(f"objective must contain {ERROR}, because trials are trained for it; got {', '.join(names)}")
    return tuple(names)


def check_limits(limits: Any) -> dict[str, float]:
    """The largest allowed value by objective.

    Raises:
        ValueError: no mapping, an unknown objective or one that a budget bounds, or a limit that is not above 0.
    """
    if not isinstance(limits, Mapping):
        raise ValueError(f"limits must map objectives to their largest value, such as {{latency: 5}}, got {limits!r}")
    for name in limits:
        if name in (field.name for field in fields(Budget)):
            raise ValueError(f"limits.{name}: is known before a trial; bound it with budget.{name}=[null,MAX]")
        validation.one_of("limits", name, (ERROR, *MEASURED))
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return {name: validation.number(f"limits.{name}", limit, low=0, open_low=True) for name, limit in given.items()}


def measured_first(names: Collection[str], *, gpus: float) -> list[str]:
    """Those of some objectives that take a measurement.

    Args:
        names: objectives, and what has a limit.
        gpus: of a trial.

    Raises:
        ValueError: the energy, without a whole GPU, because the driver counts that of all its users.
    """
    if "energy" in names and gpus < 1:
        found = f"a trial has {gpus:g} GPUs, see resources.gpu"
        raise ValueError(f"energy is counted by the driver of an NVIDIA GPU, for the whole of it; {found}")
    return [name for name in MEASURED if name in names]


def ranks(vectors: Any) -> list[int]:
    """Rank of each vector by non-dominated sorting; equal vectors share one.

    Args:
        vectors: (n, m) numbers, lower is better.
    """
    values = _rows(vectors)
    ranked = np.full(len(values), -1)
    rank = 0
    while (left := np.flatnonzero(ranked < 0)).size:
        ranked[left[_undominated(values[left])]] = rank
        rank += 1
    return [int(r) for r in ranked]


def pareto_front(vectors: Any) -> list[int]:
    """Positions of the vectors that none dominates, in order of the first objective; equal ones once, the earliest.

    Args:
        vectors: (n, m) numbers, lower is better.
    """
    values = _rows(vectors)
    first = np.unique(values, axis=0, return_index=True)[1]
    return [int(i) for i in first[_undominated(values[first])]]


def hypervolume(vectors: Any, reference: Sequence[float]) -> float:
    """Volume that the vectors dominate up to a reference point (Zitzler & Thiele, IEEE TEC 1999); higher is better.

    Args:
        vectors: (n, m) numbers, lower is better. What is not below the reference everywhere adds nothing.
        reference: m numbers.
    """
    point = np.asarray(reference, dtype=float)
    values = np.asarray(vectors, dtype=float).reshape(-1, len(point))
    inside = values[(values < point).all(axis=1)]
    if len(point) > 2:  # below that, sorting is all there is to do
        inside = inside[_undominated(inside)]
    return _volume(inside, point) if len(inside) else 0.0


def crowding(vectors: Any) -> list[float]:
    """Crowding distance of each vector of one front (Deb et al., 2002): infinite at the ends, higher is lonelier."""
    values = _rows(vectors)
    distance = np.zeros(len(values))
    for column in values.T if len(values) else ():
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return [float(d) for d in distance]


def _rows(vectors: Any) -> Any:
    values = np.asarray(vectors, dtype=float)
    return values.reshape(len(values), -1) if len(values) else np.empty((0, 1))


def _undominated(values: Any) -> Any:
    """Mask of the rows that no other row dominates, without a matrix of all pairs."""
    mask = np.zeros(len(values), dtype=bool)
    # In lexicographic order, a row can only be dominated by those before it: the first one left never is.
    left = np.lexsort(values.T[::-1])
    while left.size:
        row, others = values[left[0]], values[left[1:]]
        mask[left[0]] = True
        left = left[1:][~((row <= others).all(axis=1) & (row < others).any(axis=1))]
    return mask


def _volume(values: Any, point: Any) -> float:
    """Slices along the last objective, each the hypervolume of one dimension less."""
    if values.shape[1] == 1:
        return float(point[0] - values.min())
    order = np.argsort(values[:, -1], kind="stable")
    sliced = values[order]
    ends = np.append(sliced[1:, -1], point[-1])
    thickness = ends - sliced[:, -1]
    if values.shape[1] == 2:
        lengths = point[0] - np.minimum.accumulate(sliced[:, 0])
        return float(lengths[thickness > 0] @ thickness[thickness > 0])
    return sum(
        float(height) * _volume(sliced[: i + 1, :-1], point[:-1]) for i, height in enumerate(thickness) if height > 0
    )
