"""A search without training: a small space, an error for every architecture, a tracker that remembers its calls."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from search_spaces.budget import Budget
from search_spaces.knobs import Value
from search_spaces.space import SearchSpace, sample
from search_spaces.staged import StagedSpace
from searchers.history import History
from searchers.record import COMPLETED, TrialRecord
from searchers.searcher import Problem, Propose
from searchers.session import Session
from searchers.study import JOURNAL, TrialStore
from seqconv import Architecture, Complexity

STAGE = {
    "blocks": {"type": "integer", "low": 1, "high": 3},
    "groups": {"type": "categorical", "choices": [2, 4, 8]},
    "window": {"type": "float", "low": 0.25, "high": 2.0, "step": 0.25},
    "form": {"type": "categorical", "choices": ["plain", "bottleneck"]},
}
SUBGROUPS = {"type": "categorical", "choices": [1, 2], "when": {"stage1.form": ["bottleneck"]}}


def space(**stage: Any) -> StagedSpace:
    """One stage of 16 channels: blocks, groups, window and form, with fields replaced or added."""
    return StagedSpace(name="tiny", pyramid=(1,), widening=1, stage1={**STAGE, **stage})


def choices(**fields: list[Any]) -> StagedSpace:
    """One stage with one block of two groups, in which the fields named are knobs with these choices."""
    knobs = {name: {"type": "categorical", "choices": values} for name, values in fields.items()}
    return space(**{"blocks": 1, "groups": 2, "window": 1, "form": "plain", **knobs})


def store(folder: Path, of: SearchSpace | None = None, **settings: Any) -> TrialStore:
    return TrialStore(folder, of or space(), **settings)


def drawn(number: int, of: SearchSpace | None = None) -> dict[str, Value]:
    """Knob values that depend on the number alone."""
    return sample(of or space(), random.Random(number))


def begin(store: TrialStore, of: SearchSpace | None = None, **facts: Any) -> TrialRecord:
    """Open another trial."""
    return store.begin(drawn(len(store.records()), of), facts)


def careless(of: SearchSpace) -> Propose:
    """Draws at random, what is known too."""

    def propose(history: History, generator: np.random.Generator) -> dict[str, Value]:
        return sample(of, random.Random(int(generator.integers(2**32))))

    return propose


def error_of(values: Mapping[str, Any]) -> float:
    """Something to minimise: few blocks, a wide window."""
    return round(0.1 * values["stage1.blocks"] + 0.1 * (2 - values["stage1.window"]), 6)


def finish(store: TrialStore, record: TrialRecord, *errors: float, outcome: str = COMPLETED, **end: Any) -> TrialRecord:
    """Close an open trial with an error for each epoch, and what the store takes of its end."""
    for epoch, error in enumerate(errors or (error_of(record.values),), start=1):
        store.report(record.number, epoch, error)
    store.finish(record.number, outcome, **end)
    return store.record(record.number)


def measure(architecture: Architecture) -> Complexity:
    """A cost without torch: a thousand parameters a block."""
    blocks = sum(stage.blocks for stage in architecture.stages)
    return Complexity(
        params=1000 * blocks,
        macs=10_000 * blocks,
        paper_flops=1,
        serial_depth=4 * blocks,
        unread_groups=0,
        activation_bytes=1,
    )


def session(folder: Path, of: SearchSpace | None = None, **changes: Any) -> Session:
    """A search of four trials of two epochs, without training; what Problem takes may be changed too."""
    of = of or space()
    about = {name: changes.pop(name) for name in ("objectives", "epochs", "refusal") if name in changes}
    problem = Problem(space=of, **{"epochs": 2, **about})
    settings: dict[str, Any] = {
        "problem": problem,
        "store": store(folder, of, objectives=problem.objectives),
        "searcher": careless(of),
        "seed": 0,
        "budget": Budget(),
        "tracker": Recorder(),
        "measure": measure,
        "trials": 4,
        "max_failures": 3,
        "begin": lambda number, architecture: None,
        "progress": Watcher(),
    }
    return Session(**{**settings, **changes})


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def optuna_study(folder: Path) -> optuna.Study:
    """What Optuna itself, and so its dashboard, makes of the journal."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.load_study(study_name=None, storage=storage)


def optuna_trials(folder: Path) -> list[FrozenTrial]:
    """Its trials."""
    return optuna_study(folder).trials


class Watcher:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, TrialRecord]] = []
        self.notes: list[str] = []

    def begin(self, record: TrialRecord) -> None:
        self.calls.append(("begin", record))

    def epoch(self, record: TrialRecord) -> None:
        self.calls.append(("epoch", record))

    def rest(self, record: TrialRecord) -> None:
        self.calls.append(("rest", record))

    def end(self, record: TrialRecord) -> None:
        self.calls.append(("end", record))

    def note(self, line: str) -> None:
        self.notes.append(line)

    def close(self) -> None: ...

    def of(self, number: int) -> list[str]:
        """What it was told of a trial."""
        return [name for name, record in self.calls if record.number == number]


class Recorder:
    """A tracker that remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, dict[str, Any]]] = []

    def start(self, number: int, config: Mapping[str, Any]) -> None:
        self.calls.append(("start", number, dict(config)))

    def log(self, number: int, metrics: Mapping[str, Any]) -> None:
        self.calls.append(("log", number, dict(metrics)))

    def finish(self, number: int, summary: Mapping[str, Any]) -> None:
        self.calls.append(("finish", number, dict(summary)))

    def close(self) -> list[str]:
        return []

    def of(self, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """What it was told of a trial."""
        return ((name, data) for name, of, data in self.calls if of == number)


def named(trial: FrozenTrial) -> dict[str, float]:
    """Its constraints; the list of the same without names, for the dashboard, is beside them."""
    return {name: value for name, value in trial.constraints.items() if not name.isdigit()}
