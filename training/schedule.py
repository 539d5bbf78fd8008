"""Learning rate schedules as pure functions of the step."""

from __future__ import annotations

import math


def factor(schedule: str, step: int, *, steps: int, warmup: float) -> float:
    """Share of the peak learning rate in `step` (0-based) of `steps`; zero once all steps are done.

    Each step counts as its middle, so that neither the first nor the last is taken at a rate of zero.

    Args:
        schedule: "one_cycle", up and down in straight lines (Smith and Topin, 2018, arXiv 1708.07120), or "cosine",
            up in a straight line and down along half a cosine (Loshchilov and Hutter, 2017, arXiv 1608.03983).
        step: steps taken before this one.
        steps: steps of the whole training.
        warmup: share of the steps in which the rate rises.
    """
    position = (step + 0.5) / steps
    if position >= 1:
        return 0.0
    if position < warmup:
        return position / warmup
    descent = (position - warmup) / (1 - warmup)
    return 1 - descent if schedule == "one_cycle" else 0.5 * (1 + math.cos(math.pi * descent))
