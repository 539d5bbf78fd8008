"""How the two stages share the command line: `recipe=` and `dataset=` are those of the one stage that runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import yaml

from promotion.config import CIFAR, STAGES

DEFAULT_STAGES = (CIFAR,)
_SHARED = ("recipe", "dataset")


def of_stages(arguments: Sequence[str]) -> list[str]:
    """The arguments with `recipe` and `dataset`, and what is in them, as keys of the stage that runs.

    Raises:
        ValueError: two stages run, and the argument does not say of which it speaks; or it speaks of one that does not.
    """
    stages = _stages(arguments)
    return list(_rewritten(arguments, stages)) if stages else list(arguments)


def _rewritten(arguments: Iterable[str], stages: Sequence[str]) -> Iterator[str]:
    for argument in arguments:
        key = argument.partition("=")[0]
        prefix = key[: len(key) - len(key.lstrip("+~"))]
        first, *rest = key.removeprefix(prefix).split(".")
        if first in _SHARED:
            if len(stages) > 1:
                named = " or ".join(".".join((stage, first, *rest)) for stage in stages)
                raise ValueError(f"{key} of which stage? Give {named}")
            yield f"{prefix}{stages[0]}.{argument.removeprefix(prefix)}"
        elif first in STAGES and first not in stages:
            raise ValueError(f"{key} is given, but stages=[{','.join(stages)}] has no stage {first}")
        else:
            yield argument


def _stages(arguments: Sequence[str]) -> Sequence[str]:
    """What stages= says, or nothing where that is no list of stages, for which the configuration has a message."""
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith("stages=")]
    if not given:
        return DEFAULT_STAGES
    try:
        stages = yaml.safe_load(given[-1])
    except yaml.YAMLError:
        return ()
    return stages if isinstance(stages, list) and set(map(str, stages)) <= set(STAGES) else ()
