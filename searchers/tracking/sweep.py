"""The configuration of a W&B sweep that describes a search space: what its sweep page draws its axes from.

W&B runs nothing of such a sweep; the search does, and attaches its trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from search_spaces.knobs import Categorical, Integer, Knob
from search_spaces.space import SearchSpace
from searchers.objectives import ERROR


def sweep_config(space: SearchSpace, *, name: str, objectives: Sequence[str] = (ERROR,)) -> dict[str, Any] | None:
    """The sweep of a search; None for a space without knobs, which W&B takes no sweep of.

    Args:
        space: its knobs are the parameters. W&B knows no conditions: a knob stands there whether or not it is active.
        name: of the sweep.
        objectives: what is minimised. A sweep has one metric, which is the error; the others are named in words.
    """
    if not space.knobs:
        return None
    return {
        "name": name,
        "description": f"The search decides what is trained, to minimise {' and '.join(objectives)}: start no agent.",
        "method": "random",
        "metric": {"name": ERROR, "goal": "minimize"},
        "parameters": {knob.name: _parameter(knob) for knob in space.knobs},
    }


def _parameter(knob: Knob) -> dict[str, Any]:
    if isinstance(knob, Categorical):
        return {"values": list(knob.choices)}
    if knob.low == knob.high:
        return {"value": knob.low}
    bounds = {"min": knob.low, "max": knob.high}
    if isinstance(knob, Integer) and knob.step == 1:
        return {"distribution": "q_log_uniform_values", "q": 1, **bounds} if knob.log else {
            "distribution": "int_uniform", **bounds
        }  # fmt: skip
    if knob.step is None:
        return {"distribution": "log_uniform_values" if knob.log else "uniform", **bounds}
    if Decimal(repr(knob.low)) % Decimal(repr(knob.step)):
        return {"values": list(knob.probes())}  # W&B rounds to multiples of q, and these are none
    return {"distribution": "q_uniform", "q": knob.step, **bounds}
