"""What every searcher is tested with: problems, and a search that trains nothing."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from search_spaces.knobs import Categorical, Float, Integer, Knob, Value, active
from search_spaces.space import SearchSpace, check_knobs, checked_values, sample, size
from searchers.algorithms.cma_es import CmaEs
from searchers.algorithms.evolution import RegularisedEvolution
from searchers.algorithms.gp import Gp
from searchers.algorithms.grid import LARGEST, Grid
from searchers.algorithms.guided import Guided
from searchers.algorithms.local_search import LocalSearch
from searchers.algorithms.nsga import Nsga2, Nsga3
from searchers.algorithms.random import RandomSearch
from searchers.algorithms.tpe import Tpe
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, RUNNING, TrialRecord
from searchers.searcher import Problem, Propose, Searcher
from searchers.warm_start import warm
from tests.search_spaces.examples import DELIVERED, categorical, delivered, one_stage, real


@dataclass(frozen=True)
class Toy:
    """Something that a toy space decodes to."""

    name: str

    def fingerprint(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class ToySpace:
    """Any knobs, with an architecture that is what `meaning` makes of the values."""

    name: str
    knobs: tuple[Knob, ...]
    meaning: Callable[[Mapping[str, Value]], Any] = lambda values: sorted(values.items())
    forbidden: Callable[[Mapping[str, Value]], bool] = lambda values: False

    def __post_init__(self) -> None:
        check_knobs(self.knobs)

    def decode(self, values: Mapping[str, Value]) -> Any:
        values = checked_values(self.knobs, values)
        if self.forbidden(values):
            raise ValueError("forbidden")
        return Toy(repr(self.meaning(values)))

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "knobs": [knob.to_dict() for knob in self.knobs]}


def table(knobs: int = 5, choices: int = 4) -> ToySpace:
    """Operations without an order, as the cells of a tabular benchmark have."""
    operations = tuple("abcdefghij"[:choices])
    return ToySpace(name="table", knobs=tuple(Categorical(name=f"edge{i}", choices=operations) for i in range(knobs)))


def conditional() -> ToySpace:
    """Knobs of every kind, most of which are there with a value of another alone."""
    kinds = ("plain", "wide", "deep")
    return ToySpace(
        name="conditional",
        knobs=(
            Categorical(name="kind", choices=kinds),
            Categorical(name="norm", choices=(True, False)),
            Float(name="width", low=1.0, high=4.0, log=True, when={"kind": ("wide",)}),
            Integer(name="depth", low=2, high=40, step=2, when={"kind": ("deep",)}),
            Categorical(name="skip", choices=(1, 2, 4), when={"kind": ("wide", "deep")}),
            Float(name="drop", low=0.0, high=0.5, step=0.05, when={"skip": (1, 2), "norm": (True,)}),
        ),
    )


def numbers() -> ToySpace:
    """Numbers without steps, and knobs with a single value."""
    return ToySpace(
        name="numbers",
        knobs=(
            Float(name="rate", low=1e-4, high=1e-1, log=True),
            Float(name="momentum", low=0.0, high=1.0),
            Integer(name="width", low=1, high=512, log=True),
            Integer(name="seven", low=7, high=7),
            Float(name="half", low=0.5, high=0.5),
            Categorical(name="only", choices=("this",)),
        ),
    )


def tiny() -> ToySpace:
    """Six architectures behind 18 knob vectors, of which three decode to nothing."""
    return ToySpace(
        name="tiny",
        knobs=(
            Categorical(name="a", choices=("x", "y", "z")),
            Integer(name="b", low=1, high=3),
            Categorical(name="c", choices=(0, 1)),
        ),
        meaning=lambda values: (values["a"], values["b"] == 3),
        forbidden=lambda values: values["c"] == 1 and values["b"] == 1,
    )


def constants() -> SearchSpace:
    """A delivered kind of space in which the user has fixed all but one stage's window and groups."""
    return one_stage(blocks=2, groups=categorical(2, 4, 8), window=real(0.25, 2.0, step=0.25), form="bottleneck")


TOYS = {make.__name__: make for make in (table, conditional, numbers, tiny, constants)}
SPACES = (*DELIVERED, *TOYS)


def space(name: str) -> SearchSpace:
    return TOYS[name]() if name in TOYS else delivered(name)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A searcher, and which spaces it takes."""

    searcher: Searcher
    takes: Callable[[SearchSpace], bool] = lambda space: True
    several: bool = True
    """Whether it takes several objectives."""
    spaces: tuple[str, ...] = ()
    """Where its proposals are dear, the spaces that it is tried with; else all that it takes."""


def countable(space: SearchSpace) -> bool:
    return (size(space) or math.inf) <= LARGEST


def unconditional(space: SearchSpace) -> bool:
    return not any(knob.when for knob in space.knobs)


def numeric(space: SearchSpace) -> bool:
    """Every knob has an order, and some have several values."""
    ordered = (
        all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in knob.choices)
        for knob in space.knobs
        if isinstance(knob, Categorical)
    )
    return unconditional(space) and all(ordered) and any(knob.count != 1 for knob in space.knobs)


CASES = {
    case.searcher.name: case
    for case in (
        Case(searcher=RandomSearch()),
        Case(searcher=Grid(), takes=countable),
        Case(searcher=RegularisedEvolution(population=6, sample=3)),
        Case(searcher=LocalSearch(starts=4)),
        Case(searcher=Guided(startup_trials=4, strangers=10)),
        Case(searcher=Tpe(startup_trials=4)),
        Case(searcher=Gp(startup_trials=6), takes=unconditional, spaces=("numbers", "table")),
        Case(searcher=CmaEs(), takes=numeric, several=False),
        Case(searcher=Nsga2(population=6)),
        Case(searcher=Nsga3(population=6)),
    )
}


@dataclass(frozen=True, kw_only=True)
class WarmStarted:
    """A searcher that is given vectors to begin with."""

    searcher: Searcher
    vectors: tuple[Mapping[str, Value], ...]
    name: ClassVar[str] = "warm"

    def bind(self, problem: Problem) -> Propose:
        return warm(self.searcher.bind(problem), problem, self.vectors)


class Simulation:
    """A search that trains nothing, and looks at every proposal.

    Args:
        searcher: what proposes.
        problem: what it is over.
        records: what the history begins with.
        seed: of the proposals.
    """

    def __init__(
        self, searcher: Searcher, problem: Problem, records: Iterable[TrialRecord] = (), seed: int = 0
    ) -> None:
        self.searcher, self.problem, self.seed = searcher, problem, seed
        self.history = History(records)
        self._propose = searcher.bind(problem)

    def ask(self) -> TrialRecord:
        """The next trial, running; a duplicate where it needs no training."""
        record = self.next()
        assert record is not None, "nothing is left"
        return record

    def next(self) -> TrialRecord | None:
        """The same, or None where nothing is left."""
        values = self.proposal()
        if values is None:
            return None
        assert values == checked_values(self.problem.space.knobs, values)
        fingerprint = self.problem.candidate(values)
        assert fingerprint is not None, f"{values} may not be trained"
        known = self.history.known(fingerprint)
        if known:
            untried = architectures(self.problem) - {record.fingerprint for record in self.history}
            assert not untried, f"{values} is known, and {len(untried)} architectures are not"
        facts = {"fingerprint": fingerprint, **cost(self.problem.space, values)}
        record = TrialRecord(
            number=len(self.history), outcome=DUPLICATE if known else RUNNING, values=values, facts=facts
        )
        self.history.put(record)
        return record

    def tell(self, number: int, outcome: str = COMPLETED) -> None:
        """Say what became of a trial."""
        self.history.put(ended(self.problem, self.history[number], outcome))

    def run(self, trials: int) -> Simulation:
        """One trial after the other, as long as there is something to propose."""
        for _ in range(trials):
            record = self.next()
            if record is None:
                break
            if record.outcome == RUNNING:
                self.tell(record.number)
        return self

    def proposal(self) -> Mapping[str, Value] | None:
        """What is proposed at this point; None where nothing is left, which has to be true."""
        values = self._propose(self.history, self.generator())
        if values is None:
            assert architectures(self.problem) <= {record.fingerprint for record in self.history if record.settled}
        return values

    def proposal_after_a_restart(self) -> Mapping[str, Value] | None:
        """What one proposes that has not lived through the history."""
        return self.searcher.bind(self.problem)(History(list(self.history)), self.generator())

    def generator(self) -> np.random.Generator:
        """That of the next proposal."""
        return np.random.default_rng([self.seed, len(self.history)])


def ended(problem: Problem, record: TrialRecord, outcome: str) -> TrialRecord:
    """A record with its result: stopped trials have fewer epochs, failed ones no finite error."""
    epochs = {COMPLETED: problem.epochs, PRUNED: 1, FAILED: 2}.get(outcome, 0)
    error = math.nan if outcome == FAILED else error_of(problem.space, record.values)
    errors = {epoch: error + 0.1 / epoch for epoch in range(1, epochs + 1)}
    return replace(record, outcome=outcome, errors=errors)


def foreign(problem: Problem, outcomes: Sequence[str], seed: int = 1) -> list[TrialRecord]:
    """Records of trials that some other searcher proposed."""
    rng = random.Random(seed)
    records = []
    for number, outcome in enumerate(outcomes):
        values = next(v for v in iter(lambda: sample(problem.space, rng), None) if problem.candidate(v) is not None)
        facts = {"fingerprint": problem.candidate(values), **cost(problem.space, values)}
        values = dict(reversed(values.items()))  # a store need not keep the order
        records.append(ended(problem, TrialRecord(number=number, outcome=RUNNING, values=values, facts=facts), outcome))
    return records


def error_of(space: SearchSpace, values: Mapping[str, Value]) -> float:
    """Something to minimise: how far the knobs are from three tenths of their ranges."""
    away = [abs(_position(knob, values[knob.name]) - 0.3) for knob in space.knobs if knob.name in values]
    return sum(away) / max(len(away), 1)


def cost(space: SearchSpace, values: Mapping[str, Value]) -> dict[str, int]:
    """Something else to minimise, which is least elsewhere."""
    share = sum(_position(knob, values[knob.name]) for knob in space.knobs if knob.name in values)
    return {"params": 1000 + round(1000 * share), "macs": 10_000 - round(1000 * share)}


def architectures(problem: Problem) -> frozenset[str]:
    """Fingerprints of all that may be trained, where these are few; otherwise of some."""
    rng = random.Random(0)
    vectors = everything(problem.space) if few(problem.space) else [sample(problem.space, rng) for _ in range(99)]
    return frozenset(filter(None, map(problem.candidate, vectors)))


def few(space: SearchSpace) -> bool:
    return (size(space) or math.inf) <= 300


def everything(space: SearchSpace) -> list[dict[str, Value]]:
    """Every knob vector, each once."""
    vectors: list[dict[str, Value]] = []
    for values in itertools.product(*(knob.probes() for knob in space.knobs)):
        vector: dict[str, Value] = {}
        for knob, value in zip(space.knobs, values, strict=True):
            if active(knob, vector):
                vector[knob.name] = value
        if vector not in vectors:
            vectors.append(vector)
    return vectors


def _position(knob: Knob, value: Any) -> float:
    if isinstance(knob, Categorical):
        return knob.choices.index(value) / len(knob.choices)
    return (value - knob.low) / ((knob.high - knob.low) or 1)
