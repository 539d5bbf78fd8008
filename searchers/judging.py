"""What there is to say of a knob vector before training, and of what a trial measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from search_spaces.budget import Budget
from search_spaces.knobs import Value
from search_spaces.space import SearchSpace
from searchers.objectives import ERROR, MEASURED
from searchers.record import COMPLETED, PRUNED, REFUSED, TrialRecord
from seqconv import Architecture, Complexity


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A knob vector before training."""

    architecture: Architecture | None = None
    """None where it makes none."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the architecture."""
    reason: str | None = None
    """Why it may not be trained."""
    violations: Mapping[str, float] = field(default_factory=dict)
    """By how much, for each constraint that it breaks."""


def judge(
    values: Mapping[str, Value],
    space: SearchSpace,
    budget: Budget,
    *,
    measure: Callable[[Architecture], Complexity],
    about: Mapping[str, Any],
) -> Judged:
    """Look at a knob vector.

    Args:
        values: of the knobs.
        space: that they are of.
        budget: what an architecture may cost.
        measure: what it costs.
        about: facts that every architecture has here.
    """
    try:
        architecture = space.decode(values)
    except ValueError as error:
        return Judged(reason=str(error), violations={"decodable": 1.0})
    cost = measure(architecture)
    fingerprint = architecture.fingerprint()
    return Judged(
        architecture=architecture,
        facts={"fingerprint": fingerprint, "architecture": architecture.to_dict(), **asdict(cost), **about},
        reason=budget.refusal(cost),
        violations=budget.violations(cost),
    )


def excess(measures: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, float]:
    """The limits that are broken, by how much of the limit."""
    found = {name: measures[name] / limit - 1 for name, limit in limits.items() if name in measures}
    return {name: value for name, value in found.items() if value > 0}


def over(beyond: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """The limits that are broken, in words."""
    parts = (
        f"{name} {limits[name] * (1 + value):.4g} is above its limit {limits[name]:g}" for name, value in beyond.items()
    )
    return " and ".join(parts)


def useless(record: TrialRecord, objectives: Sequence[str], limits: Mapping[str, float]) -> str | None:
    """Why a trial that ended by itself has failed nevertheless."""
    if record.error is None:
        return "the trial ended without a result"
    measures = record.measures()
    for name in dict.fromkeys((*objectives, *limits)):
        if name not in measures:
            needed = "minimises" if name in objectives else "limits"
            return f"the trial reported no {name}, which the search {needed}"
        if not math.isfinite(measures[name]):
            return f"{'validation error' if name == ERROR else name} {measures[name]} after {record.epochs} epochs"
    return None


def answers(record: TrialRecord, limits: Mapping[str, float]) -> bool:
    """Whether a later proposal of that architecture needs no training: its result, or a limit it breaks, is known.

    What was refused is judged anew, because a resumed search may have another budget or other limits.
    """
    measured = {name: record.facts[name] for name in MEASURED if name in record.facts}
    return record.outcome in (COMPLETED, PRUNED) or (record.outcome == REFUSED and bool(excess(measured, limits)))


def nearest(records: Iterable[TrialRecord], limits: Mapping[str, float]) -> str:
    """Where trials were measured and none is within the limits, what the nearest of them came to."""
    known = [measures for record in records if (measures := record.measures()).keys() & limits.keys()]
    least = min((excess(measures, limits) for measures in known), key=lambda x: sum(x.values()), default={})
    return f"; at the nearest, {over(least, limits)}" if least else ""
