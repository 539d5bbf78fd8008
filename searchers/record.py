"""What a search knows of one trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RUNNING = "running"
COMPLETED = "completed"
PRUNED = "pruned"
FAILED = "failed"
DUPLICATE = "duplicate"
REFUSED = "refused"
TRAINED = (COMPLETED, PRUNED, FAILED)
"""Outcomes that count towards the number of trials asked for; a duplicate or a refused proposal costs no training."""


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
    """What was noted of it: fingerprint, architecture, params, macs, serial_depth, unread_groups, reason, seconds."""

    @property
    def error(self) -> float | None:
        """Validation error after the last epoch it was trained for; of the original where it is a duplicate."""
        return self.errors[max(self.errors)] if self.errors else None

    @property
    def epochs(self) -> int:
        """Epochs it was trained for."""
        return max(self.errors, default=0)

    @property
    def fingerprint(self) -> str | None:
        """Name of its canonical architecture, where its values decode to one."""
        return self.facts.get("fingerprint")


def best_first(records: list[TrialRecord]) -> list[TrialRecord]:
    """Trained and not failed: those that came furthest first, and among equals the lowest error first."""
    ranked = [r for r in records if r.outcome in (COMPLETED, PRUNED) and r.error is not None]
    return sorted(ranked, key=lambda r: (-r.epochs, r.error, r.number))
