"""Windows as wide as a trained network made use of: changes of a knob vector that know its weights' heat map.

A trial that was trained to the end has noted how many groups back its layers read, stage by stage (`seqconv.reach`).
Where that is less than the window of the stage, a smaller window would have done.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping

import numpy as np

from search_spaces.knobs import Float, Knob, Value
from search_spaces.space import SearchSpace
from searchers.algorithms.mutation import Vector, changed
from searchers.record import REACH, TrialRecord
from searchers.searcher import Problem
from seqconv import Window

_WINDOW = re.compile(r"stage(\d+)\.window")


def check_windows(space: SearchSpace) -> None:
    """Refuse a space in which there is no window to shrink.

    Raises:
        ValueError: naming the space's knobs.
    """
    if not any(_WINDOW.fullmatch(knob.name) for knob in space.knobs):
        known = ", ".join(knob.name for knob in space.knobs) or "none"
        raise ValueError(
            f"searcher.heat_map shrinks knobs named stage1.window and so on, and search space {space.name} has none: "
            f"its knobs are {known}; take searcher.heat_map=false or search_space=windowed"
        )


def shrink(
    problem: Problem, record: TrialRecord, tried: Container[str], generator: np.random.Generator
) -> Vector | None:
    """An untried vector that differs from a trial's in one window, shrunk; None where there is none.

    Args:
        problem: what the search is over.
        record: a trial; without its reach there is nothing to go by.
        tried: fingerprints.
        generator: of the choice among several.
    """
    found = [vector for vector in shrunk(problem, record) if problem.candidate(vector) not in tried]
    return found[generator.integers(len(found))] if found else None


def shrunk(problem: Problem, record: TrialRecord) -> list[Vector]:
    """For each window of a trial that is wider than it had to be, its vector with the smallest that is not too narrow.

    Only windows that make another architecture which may be trained.
    """
    reach = dict(enumerate(record.facts.get(REACH, ()), start=1))
    found = []
    for knob in problem.space.knobs:
        match = _WINDOW.fullmatch(knob.name)
        if match and knob.name in record.values and (least := reach.get(int(match[1]))) is not None:
            narrower = _narrower(problem, record.values, knob, int(match[1]) - 1, least)
            found += [vector for _, _, vector in sorted(narrower, key=lambda option: option[:2])[:1]]
    return found


def _narrower(
    problem: Problem, values: Mapping[str, Value], knob: Knob, stage: int, least: int
) -> Iterator[tuple[float, int, Vector]]:
    """Width in groups, a running number, and the vector, of each window from `least` up to below the one there is."""
    own, groups = _width(problem.space, values, stage)
    for place, value in enumerate(_options(knob, least / groups)):
        vector = changed(problem.space, values, {knob.name: value})
        try:
            width, _ = _width(problem.space, vector, stage)
        except ValueError:
            continue
        if least <= width < own and problem.candidate(vector) not in (None, problem.candidate(values)):
            yield width, place, vector


def _options(knob: Knob, ratio: float) -> tuple[Value, ...]:
    """The values of a window; where they have no steps, the one that is asked for, as nearly as the knob has it."""
    if isinstance(knob, Float) and knob.count is None:
        return (min(max(ratio, knob.low), knob.high),)
    return knob.probes()


def _width(space: SearchSpace, values: Mapping[str, Value], stage: int) -> tuple[float, int]:
    """Groups that a step of a stage reads, infinite for all of them and for other patterns; and G."""
    architecture = space.decode(values)
    pattern, groups = architecture.stages[stage].window, architecture.groups[stage]
    width = pattern.resolve(groups) if isinstance(pattern, Window) else None
    return (math.inf if width is None else width), groups
