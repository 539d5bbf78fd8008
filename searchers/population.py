"""Population based training (Jaderberg et al., arXiv 1711.09846): the recipe is searched while networks train.

A member of the population is a trial with a recipe of its own. Every few epochs it rests until all have come as far,
and they are compared (`searchers.generations`). The worst end there, and other trials take their places: each has the
architecture and the weights of one of the best, and a changed recipe. So a trial stays one architecture and one recipe
from its first epoch to its last, as in Li et al. (KDD 2019, arXiv 1902.01894).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from search_spaces.knobs import Float, from_plain
from searchers.history import History
from searchers.record import COMPLETED, PRUNED, RUNNING, TrialRecord
from seqconv import validation
from training.trial import RECIPE, TrialConfig

Recipe = Mapping[str, float]
"""Settings of `TrialConfig`, by name."""


@dataclass(frozen=True, kw_only=True)
class PopulationBasedTraining:
    """How members are compared, and what their recipes are drawn from.

    Raises:
        ValueError: a field out of range, naming it.
    """

    recipe: Mapping[str, Any]
    """A knob for each setting that is searched, such as {type: float, low: 0.02, high: 0.5, log: true}; None is not."""
    interval: int = 1
    """Epochs between two comparisons."""
    quantile: float = 0.25
    """Share of the members at an epoch that counts as the worst, and share that counts as the best."""
    resample: float = 0.25
    """Probability that a setting is drawn anew where a recipe is changed; else it is multiplied by a factor."""
    factors: Sequence[float] = (0.8, 1.25)
    """What a setting is multiplied by: one of them."""
    knobs: Mapping[str, Float] = field(init=False, repr=False, compare=False)
    """The knobs of the recipe, by setting."""

    name: ClassVar[str] = "pbt"

    def __post_init__(self) -> None:
        validation.integer("scheduler.interval", self.interval)
        validation.number("scheduler.quantile", self.quantile, low=0, high=0.5, open_low=True)
        validation.number("scheduler.resample", self.resample, low=0, high=1)
        if not isinstance(self.factors, (list, tuple)) or not self.factors:
            raise ValueError(f"scheduler.factors must be a list of numbers above 0, got {self.factors!r}")
        for factor in self.factors:
            validation.number("scheduler.factors", factor, low=0, open_low=True)
        object.__setattr__(self, "factors", tuple(self.factors))
        object.__setattr__(self, "knobs", _knobs(self.recipe))


def draw(config: PopulationBasedTraining, rng: random.Random) -> dict[str, float]:
    """The recipe of a member that begins from nothing."""
    return {name: float(knob.draw(rng)) for name, knob in config.knobs.items()}


def explore(config: PopulationBasedTraining, recipe: Recipe, rng: random.Random) -> dict[str, float]:
    """A recipe near another one, within the bounds; a setting that the other one lacks is drawn."""
    changed = {}
    for name, knob in config.knobs.items():
        if name not in recipe or rng.random() < config.resample:
            changed[name] = float(knob.draw(rng))
        else:
            changed[name] = min(max(recipe[name] * rng.choice(config.factors), knob.low), knob.high)
    return changed


def best_at(records: Iterable[TrialRecord], epoch: int, quantile: float) -> list[TrialRecord]:
    """The members that were among the best after an epoch, the best first."""
    ranked = _ranked(records, epoch)
    return ranked[: _share(len(ranked), quantile)]


def worst_at(records: Iterable[TrialRecord], epoch: int, quantile: float) -> list[TrialRecord]:
    """The members that were among the worst after an epoch, the worst last."""
    ranked = _ranked(records, epoch)
    return ranked[len(ranked) - _share(len(ranked), quantile) :]


@dataclass(frozen=True, kw_only=True)
class Successor:
    """A trial in the place of another one; its fields are facts of the trial."""

    recipe: Recipe
    """Its own."""
    parent: int
    """The trial whose architecture it has, and whose weights it goes on from."""
    begun: int
    """The epoch after which it does so."""
    replaces: int
    """The trial that ended there."""


def successor(
    config: PopulationBasedTraining,
    records: History,
    number: int,
    rng: random.Random,
    kept: Callable[[int, int], bool],
) -> Successor | None:
    """What takes the place of a trial; None where none of the best has weights to go on from.

    Args:
        config: of the population.
        records: all trials.
        number: of the trial that ended.
        rng: the source of randomness.
        kept: whether the weights of a trial, by number, after an epoch are there.
    """
    epoch = records[number].epochs // config.interval * config.interval
    best = [r.number for r in best_at(records, epoch, config.quantile) if r.number != number and kept(r.number, epoch)]
    if not best:
        return None
    parent = rng.choice(best)
    recipe = explore(config, records[parent].recipe or {}, rng)
    return Successor(recipe=recipe, parent=parent, begun=epoch, replaces=number)


def vacant(records: Iterable[TrialRecord]) -> list[int]:
    """The trials that ended among the worst and have no successor yet."""
    members = [record for record in records if record.recipe is not None]
    replaced = {record.facts.get("replaces") for record in members}
    return [record.number for record in members if record.outcome == PRUNED and record.number not in replaced]


def in_turn(records: Iterable[TrialRecord]) -> Mapping[str, Any] | None:
    """Knob values of the next member, where each architecture of the space has one: those of the members in turn."""
    first = [record for record in records if record.recipe is not None and record.parent is None]
    architectures = list({record.fingerprint: record.values for record in first}.values())
    return architectures[len(first) % len(architectures)] if architectures else None


def lineage(records: Sequence[TrialRecord], number: int) -> list[TrialRecord]:
    """The trials that the weights of one went through, the first that began from nothing first."""
    line = [records[number]]
    while (parent := line[0].parent) is not None:
        line.insert(0, records[parent])
    return line


def spans(records: Sequence[TrialRecord], number: int) -> list[tuple[TrialRecord, int]]:
    """Its lineage, each trial with the last of its epochs that the weights went through."""
    line = lineage(records, number)
    return list(zip(line, [*(child.begun for child in line[1:]), line[-1].epochs], strict=True))


def schedule(records: Sequence[TrialRecord], number: int) -> list[dict[str, Any]]:
    """The recipes by which the weights of a trial came about: `epochs`, first and last, and the settings."""
    return [{"epochs": [record.begun + 1, end], **(record.recipe or {})} for record, end in spans(records, number)]


def describe(records: Sequence[TrialRecord], number: int) -> str:
    """The same in a line."""
    parts = []
    for part in schedule(records, number):
        settings = ", ".join(f"{name} {value:.3g}" for name, value in part.items() if name != "epochs")
        parts.append("epochs {} to {}: {}".format(*part["epochs"], settings))
    return f"recipe of trial {number}: {'; '.join(parts)}"


def _ranked(records: Iterable[TrialRecord], epoch: int) -> list[TrialRecord]:
    """What has come so far and did not fail, the best first; of equals that which was proposed first."""
    reached = (r for r in records if epoch in r.errors and r.outcome in (COMPLETED, PRUNED, RUNNING))
    return sorted((r for r in reached if r.recipe is not None), key=lambda r: (r.errors[epoch], r.number))


def _share(count: int, quantile: float) -> int:
    """How many of so many are the best, and how many the worst: no one is both."""
    return min(math.ceil(count * quantile), count // 2)


def _knobs(recipe: Any) -> dict[str, Float]:
    where = "scheduler.recipe"
    if not isinstance(recipe, Mapping) or all(knob is None for knob in recipe.values()):
        raise ValueError(f"{where} must map some of {', '.join(RECIPE)} to knobs, got {recipe!r}")
    validation.exact_keys(where, recipe, (), RECIPE)
    return {name: _knob(f"{where}.{name}", name, data) for name, data in recipe.items() if data is not None}


def _knob(where: str, setting: str, data: Any) -> Float:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be a knob such as {{type: float, low: 0.02, high: 0.5}}, got {data!r}")
    knob = from_plain(where, data)
    if not isinstance(knob, Float) or knob.step is not None or knob.when:
        raise ValueError(f"{where} must be of type float, without step and when, got {dict(data)}")
    for end in (knob.low, knob.high):
        at: dict[str, Any] = {setting: end}
        try:
            TrialConfig(**at)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return knob
