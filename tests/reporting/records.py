"""Runs of a few trials that a test writes down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reporting.runs import ENDED, Run, Trial
from searchers.record import COMPLETED, TrialRecord
from seqconv import Architecture

PLAN = {
    "schema": "seqconv.architecture",
    "version": 1,
    "widening": 2,
    "pyramid": [1],
    "stages": [{"blocks": 1, "group_width": 4, "window": "0.5G"}],
}


def trial(
    number: int,
    outcome: str = COMPLETED,
    *errors: float,
    values: Mapping[str, Any] | None = None,
    window: Any = "0.5G",
    metrics: list[dict[str, float]] | None = None,
    **facts: Any,
) -> Trial:
    """One stage of 32 channels in 8 groups, with an error for each epoch."""
    plan = {**PLAN, "stages": [{**PLAN["stages"][0], "window": window}]}  # type: ignore[index]
    record = TrialRecord(
        number=number,
        outcome=outcome,
        values={"window": window} if values is None else values,
        errors=dict(enumerate(errors, start=1)),
        facts={"architecture": plan, **facts},
    )
    return Trial(record=record, architecture=Architecture.from_dict(plan), metrics=metrics or ())


def run(*trials: Trial, index: int = 0, name: str = "a", path: Path = Path("runs/a"), **fields: Any) -> Run:
    about: dict[str, Any] = {"description": {}, "settings": {}, "environment": {}, "problems": [], "state": ENDED}
    return Run(index=index, name=name, path=path, trials=trials, **(about | fields))
