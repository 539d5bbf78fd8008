"""A table of four architectures, small enough to follow a search by hand, and a searcher that proposes as it is told.

| architecture | macs | error after epochs 1, 3: seed 0 | seed 1 | true error | seconds |
|---|---|---|---|---|---|
| 00 | 10 | 0.9, 0.50 | 0.9, 0.50 | 0.500 | 1, 3 |
| 01 | 20 | 0.8, 0.40 | 0.8, 0.20 | 0.300 | 2, 6 |
| 10 | 30 | 0.7, 0.30 | 0.7, 0.35 | 0.325 | 3, 9 |
| 11 | 40 | 0.6, 0.45 | none | 0.450 | 4, 12 |
"""

from collections.abc import Iterable, Mapping

import numpy as np
from table import Entry, Table, TableSpace

from search_spaces.knobs import Integer, Value
from searchers.history import History
from searchers.searcher import Problem, Propose

NAN = float("nan")
ERRORS = [
    [[0.9, 0.5], [0.9, 0.5]],
    [[0.8, 0.4], [0.8, 0.2]],
    [[0.7, 0.3], [0.7, 0.35]],
    [[0.6, 0.45], [NAN, NAN]],
]


def space() -> TableSpace:
    """Two knobs from 0 to 2, of which the table has no architecture with a 2."""
    entries = {(a, b): Entry(row=2 * a + b, name=f"{a}{b}") for a in (0, 1) for b in (0, 1)}
    return TableSpace(
        name="toy", knobs=(Integer(name="a", low=0, high=2), Integer(name="b", low=0, high=2)), entries=entries
    )  # type: ignore[arg-type]


def toy() -> Table:
    """The table."""
    per_epoch = np.array([[[i, 3 * i]] * 2 for i in (1, 2, 3, 4)], dtype=float)
    costs = {"macs": np.array([10.0, 20.0, 30.0, 40.0])}
    return Table(space=space(), epochs=(1, 3), errors=np.array(ERRORS), seconds=per_epoch, costs=costs)


def problem(objectives: tuple[str, ...] = ("error",)) -> Problem:
    """Over the toy space."""
    return Problem(space=space(), objectives=objectives, epochs=3)


def propose(names: Iterable[str]) -> Propose:
    """Architectures by name in this order, and the last one again and again."""
    left = list(names)

    def proposal(history: History, generator: np.random.Generator) -> Mapping[str, Value]:
        a, b = left.pop(0) if len(left) > 1 else left[0]
        return {"a": int(a), "b": int(b)}

    return proposal
