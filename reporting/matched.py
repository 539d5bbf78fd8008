"""Errors that may be compared: those after the same number of epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reporting.runs import Trial

_MOST = 0.8
"""Share of the trials."""


def matched_epoch(trials: Sequence[Trial]) -> int | None:
    """The last epoch that most of the trials have an error of; None where there is none.

    Later ones are of what the scheduler let pass, and what it stopped would be missing from a comparison. Those that
    are missing here are still in training.
    """
    counts: dict[int, int] = {}
    for trial in trials:
        for epoch, error in trial.record.errors.items():
            counts[epoch] = counts.get(epoch, 0) + math.isfinite(error)
    return max((epoch for epoch, count in counts.items() if count and count >= _MOST * len(trials)), default=None)


def errors_at(trials: Sequence[Trial], epoch: int) -> list[tuple[Trial, float]]:
    """The trials that have a finite error after that epoch, with it."""
    found = ((trial, trial.record.errors.get(epoch, math.nan)) for trial in trials)
    return [(trial, error) for trial, error in found if math.isfinite(error)]
