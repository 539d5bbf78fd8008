"""What a search says at its start, where its settings mean something that the user may not expect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from search_spaces.budget import Budget
from searchers.record import COMPLETED, PRUNED, TrialRecord
from searchers.searcher import Searcher
from seqconv import Complexity

SHOWN = 5
"""Trials that are named."""


def unused_population(searcher: Searcher, trials: int) -> list[str]:
    """A line where a searcher has a population that a search of so many trials does not fill."""
    population = getattr(searcher, "population", None)
    if population is None or population <= trials:
        return []
    return [
        f"note: searcher.population={population} is above the {trials} trials of this search: no result will guide a "
        "proposal; take a smaller population, or more trials where the space has them"
    ]


def outside_budget(records: Iterable[TrialRecord], budget: Budget) -> list[str]:
    """A line where trials with a result cost what the budget does not allow, as after a resume with a tighter one."""
    outside = [r.number for r in records if r.outcome in (COMPLETED, PRUNED) and budget.violations(_cost(r))]
    if not outside:
        return []
    shown = ", ".join(map(str, outside[:SHOWN])) + (", ..." if len(outside) > SHOWN else "")
    return [
        f"note: {len(outside)} trials of before are out of this budget ({shown}): it bounds what is proposed from here "
        "on; their results stay, and the best trial may be one of them"
    ]


def _cost(record: TrialRecord) -> Complexity:
    # What searches of earlier releases did not measure is nothing that a budget bounds.
    return Complexity(**{field.name: record.facts.get(field.name, 0) for field in fields(Complexity)})
