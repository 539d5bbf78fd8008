"""What is compared: searchers as conf/searcher configures them, schedulers as conf/scheduler does, and plain Optuna.

A contender is written SEARCHER[:KEY=VALUE,...][+SCHEDULER[:KEY=VALUE,...]], such as `evolution:population=50` or
`tpe+asha:reduction_factor=4`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from plain_optuna import SAMPLERS, PlainOptuna
from simulator import Scheduler

import command_line
from searchers.history import History
from searchers.searcher import Problem, Propose
from seqconv import validation


def searchers() -> tuple[str, ...]:
    """Names of all searchers."""
    return (*_options("searcher"), *SAMPLERS)


def propose(contender: str, problem: Problem) -> Propose:
    """The searcher of a contender, for one search.

    Raises:
        ValueError: an unknown name, a setting that it refuses, or a problem that it cannot deal with.
    """
    text, _ = _split(contender)
    if text in SAMPLERS:
        return PlainOptuna(problem, SAMPLERS[text])
    bound: Propose = _configured("searcher", text).bind(problem)
    return bound


def scheduler(contender: str, problem: Problem, history: History) -> Scheduler | None:
    """The scheduler of a contender, for one search; None for one without.

    Raises:
        ValueError: an unknown name, a setting that it refuses, or a problem that it cannot deal with.
    """
    _, text = _split(contender)
    if not text:
        return None
    from searchers import ray_schedulers  # costs seconds

    return ray_schedulers.make(
        _configured("scheduler", text),
        problem.epochs,
        objectives=problem.objectives,
        measures=lambda number: history[number].measures(),
    )


def _split(contender: str) -> tuple[str, str]:
    searcher, plus, scheduler_text = contender.partition("+")
    if plus and not scheduler_text:
        raise ValueError(f"{contender}: after + comes a scheduler, one of {', '.join(_options('scheduler'))}")
    return searcher, scheduler_text


@functools.cache
def _configured(group: str, text: str) -> Any:
    name, _, settings = text.partition(":")
    known = searchers() if group == "searcher" else _options(group)
    validation.one_of(group, name, known)
    if name in SAMPLERS:
        raise ValueError(f"{name} takes no settings, got {settings}: it stands for Optuna as it is")
    overrides = [f"{group}={name}", *(f"{group}.{setting}" for setting in settings.split(",") if setting)]
    with initialize_config_dir(str(command_line.CONF), version_base="1.3"):
        return command_line.instantiate(compose("search", overrides)[group])


def _options(group: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in Path(command_line.CONF, group).glob("*.yaml")))
