"""What a search knows of one trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from searchers.objectives import ERROR, MEASURED, OBJECTIVES, pareto_front

RUNNING = "running"
COMPLETED = "completed"
PRUNED = "pruned"
FAILED = "failed"
DUPLICATE = "duplicate"
REFUSED = "refused"
TRAINED = (COMPLETED, PRUNED, FAILED)
"""Outcomes that count towards the number of trials asked for; a duplicate or a refused proposal costs no training."""
REACH = "reach"
"""The fact that says how many groups back each stage of a trained network reads, see `seqconv.reach`."""
DRIVER = "driver"
"""The fact that says which of the searches on one study has a trial: its name, and where its run folder is."""
FOUND = (*MEASURED, REACH)
"""Facts of an architecture that its trial finds out: a duplicate has them from there."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial, as the store holds it."""

    number: int
    """Position in the search, from 0; names the trial's folder."""
    outcome: str
    """running, completed, pruned (stopped by the scheduler), failed, duplicate or refused."""
    values: Mapping[str, Any]
    """Knob values, by knob name."""
    errors: Mapping[int, float] = field(default_factory=dict)
    """Validation error, a fraction, by epoch."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was noted of it: fingerprint, architecture, its cost, what was measured, reason, seconds, violations."""

    @property
    def error(self) -> float | None:
        """Validation error after the last epoch it was trained for; of the original where it is a duplicate."""
        return self.errors[max(self.errors)] if self.errors else None

    @property
    def epochs(self) -> int:
        """Epochs its weights were trained for, those of the trial that it went on from included."""
        return max(self.errors, default=self.begun)

    @property
    def recipe(self) -> Mapping[str, float] | None:
        """Settings of its own, of a member of a population, see `searchers.population`."""
        return self.facts.get("recipe")

    @property
    def parent(self) -> int | None:
        """The trial whose weights it began with."""
        return self.facts.get("parent")

    @property
    def begun(self) -> int:
        """The epoch after which it took these weights."""
        return int(self.facts.get("begun", 0))

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that were asked for: trained, and without another one in its place."""
        return self.outcome in TRAINED and (self.recipe is None or self.outcome != PRUNED)

    def measures(self) -> dict[str, float]:
        """Every quantity known of it that a search could minimise; the error is that of the last epoch."""
        known = {**self.facts, ERROR: self.error}
        return {name: float(known[name]) for name in OBJECTIVES if known.get(name) is not None}

    @property
    def fingerprint(self) -> str | None:
        """Name of its canonical architecture, where its values decode to one."""
        return self.facts.get("fingerprint")

    @property
    def where(self) -> str | None:
        """Machine and run folder where its files are, where several searches work on one study."""
        return self.facts[DRIVER]["where"] if DRIVER in self.facts else None

    @property
    def key(self) -> str:
        """What no two trials are trained for: an architecture, or the recipe of one member of a population."""
        fingerprint = self.fingerprint or ""
        return fingerprint if self.recipe is None else f"{fingerprint} {self.number}"

    @property
    def settled(self) -> bool:
        """Whether there is no need to propose its architecture again. What a budget refused is judged anew."""
        measured = any(name in self.facts for name in MEASURED)
        return self.outcome != REFUSED or measured

    @property
    def short_reason(self) -> str:
        """The last line of why it failed or was refused; empty where there is nothing to say."""
        lines = str(self.facts.get("reason", "")).strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def feasible(self) -> bool:
        """Within every limit that was set."""
        return not self.facts.get("violations")


def place(record: TrialRecord) -> tuple[bool, int, float, int]:
    """Key of the order from best to worst: within the limits first, then what came furthest, then the lowest error."""
    error = math.inf if record.error is None else record.error
    return (not record.feasible, -record.epochs, error, record.number)


def best_first(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Trained and not failed, from best to worst."""
    return sorted((r for r in records if r.outcome in (COMPLETED, PRUNED) and r.error is not None), key=place)


def compared(records: Iterable[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """The completed trials within the limits that have a value of every objective: what a front is chosen from."""
    return [r for r in records if r.outcome == COMPLETED and r.feasible and set(objectives) <= r.measures().keys()]


def front(records: Iterable[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """The compared trials that no other one dominates, by the first objective; equal ones once."""
    complete = compared(records, objectives)
    return [complete[i] for i in pareto_front([[r.measures()[name] for name in objectives] for r in complete])]
