from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search_spaces.knobs import Categorical, Float
from searchers.algorithms.random import RandomSearch
from searchers.algorithms.tpe import Tpe
from searchers.history import History
from searchers.record import COMPLETED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.searcher import Problem, Searcher
from tests.searchers.algorithms.conformance import Simulation, ToySpace, conditional, table

EPOCHS = 4
KINDS = ToySpace(
    name="kinds",
    knobs=(Categorical(name="kind", choices=("early", "late")), Float(name="x", low=0.0, high=1.0)),
)
Ends = Mapping[str, tuple[str, Mapping[int, float]]]


def simulation(searcher: Searcher, of: ToySpace | None = None, seed: int = 0, **about: Any) -> Simulation:
    return Simulation(searcher, Problem(space=of or table(), **{"epochs": EPOCHS, **about}), seed=seed)


def proposed(searcher: Tpe, records: list[TrialRecord], number: int = 12) -> Counter[Any]:
    """How often each kind is proposed after a history, with different generators."""
    propose, history = searcher.bind(Problem(space=KINDS, epochs=EPOCHS)), History(records)
    return Counter(propose(history, np.random.default_rng(seed))["kind"] for seed in range(number))


def records(number: int, ends: Ends) -> list[TrialRecord]:
    """So many trials of both kinds in turn, each ended as its kind does."""
    found = []
    for i in range(number):
        kind = ("early", "late")[i % 2]
        outcome, errors = ends[kind]
        values = {"kind": kind, "x": i / number}
        facts = {"fingerprint": str(i), "violations": {"params": 0.5} if outcome == REFUSED else {}}
        found.append(TrialRecord(number=i, outcome=outcome, values=values, errors=errors, facts=facts))
    return found


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("startup_trials", -1, "an integer at least 0"),
        ("startup_trials", 2.5, "an integer at least 0"),
        ("candidates", 0, "an integer at least 1"),
        ("candidates", True, "an integer at least 1"),
        ("fidelity", "highst", "one of all, highest"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError) as error:
        Tpe(**{name: value})
    assert str(error.value).startswith(f"searcher.{name} must be {allowed}, got {value!r}")


def test_the_highest_fidelity_is_one_of_a_single_objective() -> None:
    problem = Problem(space=table(), objectives=("error", "params"))
    with pytest.raises(ValueError) as error:
        Tpe(fidelity="highest").bind(problem)
    assert str(error.value) == "searcher.fidelity=highest is for objective=error alone; all takes several objectives"


def test_it_learns_from_the_history() -> None:
    """With ten trials behind it, it proposes better ones than at first; what is random does not."""
    mean = {}
    for searcher in (RandomSearch(), Tpe(startup_trials=10)):
        errors = [record.error or 0.0 for record in simulation(searcher).run(40).history]
        mean[searcher.name] = (np.mean(errors[:10]), np.mean(errors[10:]))
    assert mean["tpe"][1] < mean["tpe"][0] - 0.03
    assert mean["tpe"][1] < mean["random"][1] - 0.03


@pytest.mark.parametrize("fidelity", ["all", "highest"])
def test_one_that_is_bound_anew_proposes_the_same(fidelity: str) -> None:
    """Also while trials run, and after some were stopped."""
    run = simulation(Tpe(startup_trials=4, fidelity=fidelity), conditional())
    for step in range(16):
        record = run.ask()
        assert run.proposal_after_a_restart() == run.proposal()
        run.tell(record.number, COMPLETED if step % 3 else PRUNED)
    assert run.proposal_after_a_restart() == run.proposal()


@pytest.mark.parametrize("startup_trials", [0, 4])
def test_another_seed_proposes_something_else(startup_trials: int) -> None:
    found = [simulation(Tpe(startup_trials=startup_trials), seed=seed).run(8) for seed in (0, 1, 0)]
    values = [[record.values for record in run.history] for run in found]
    assert values[0] == values[2] != values[1]


def test_a_knob_with_a_condition_has_a_value_only_where_that_holds() -> None:
    found = [record.values for record in simulation(Tpe(startup_trials=4), conditional()).run(24).history]
    assert {values["kind"] for values in found} == {"plain", "wide", "deep"}
    assert all(("width" in values) == (values["kind"] == "wide") for values in found)


def test_it_keeps_away_from_what_was_refused() -> None:
    refused = {"early": (REFUSED, {}), "late": (COMPLETED, {EPOCHS: 0.5})}
    assert proposed(Tpe(startup_trials=8), records(20, refused))["late"] >= 11


def test_it_keeps_away_from_what_breaks_a_limit() -> None:
    """Though its error be low."""
    ends: Ends = {"early": (COMPLETED, {EPOCHS: 0.1}), "late": (COMPLETED, {EPOCHS: 0.5})}
    found = records(20, ends)
    beyond = [
        replace(r, facts={**r.facts, "violations": {"latency": 0.5}}) for r in found if r.values["kind"] == "early"
    ]
    for record in beyond:
        found[record.number] = record
    assert proposed(Tpe(startup_trials=8), found)["late"] >= 10


def test_what_was_stopped_early_ranks_behind_what_was_not() -> None:
    """Whatever its error was then."""
    ends: Ends = {"early": (PRUNED, {1: 0.1}), "late": (COMPLETED, {1: 0.9, EPOCHS: 0.5})}
    assert proposed(Tpe(startup_trials=8), records(20, ends))["late"] >= 10


def test_the_highest_fidelity_is_that_of_the_last_epoch_that_enough_trials_reached() -> None:
    """Sixteen of each kind: at epoch 1 the one is better, and at the last epoch the other."""
    tpe = Tpe(startup_trials=8, fidelity="highest")
    early: Ends = {"early": (PRUNED, {1: 0.1}), "late": (PRUNED, {1: 0.5})}
    whole: Ends = {"early": (COMPLETED, {1: 0.1, EPOCHS: 0.6}), "late": (COMPLETED, {1: 0.5, EPOCHS: 0.2})}
    few = [*records(6, whole), *records(32, early)[6:]]
    enough = [*records(8, whole), *records(32, early)[8:]]
    assert proposed(tpe, few)["early"] >= 10
    assert proposed(tpe, enough)["late"] >= 10


def test_what_is_being_trained_is_not_proposed_again() -> None:
    run = simulation(Tpe(startup_trials=4), table(knobs=2, choices=3)).run(5)
    asked = [run.ask() for _ in range(4)]
    assert {record.outcome for record in asked} == {RUNNING}
    assert len({record.fingerprint for record in run.history}) == 9


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_to_the_user(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.WARNING):
        for objectives in (("error",), ("error", "params")):
            simulation(Tpe(startup_trials=4), conditional(), objectives=objectives).run(12)
    assert (caplog.messages, capfd.readouterr()) == ([], ("", ""))
