from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces.knobs import Value
from searchers.history import History
from searchers.prefilter import PREDICTOR, Prefilter, choose, first, make_scoring, prefiltered, remembered, scorer
from searchers.record import COMPLETED, FAILED, RUNNING, TrialRecord
from searchers.searcher import Problem, Propose
from seqconv import Architecture, Stage, Window
from tests.searchers.fakes import careless, choices, space
from training.data import Split, stratified_order
from training.zero_cost.names import PROXIES
from training.zero_cost.scoring import Batch, score

NARROW, WIDE = (
    Architecture(stages=(Stage(blocks=1, group_width=8, window=Window(ratio=ratio)),), pyramid=(1,), widening=2)
    for ratio in (0.25, 2.0)
)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def split() -> Split:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), (5, 10, 15)).astype(np.int64)
    images = generator.integers(0, 256, (30, 3, 8, 8)).astype(np.uint8)
    for array in (labels, images):
        array.flags.writeable = False
    return Split(
        train_images=images,
        train_labels=labels,
        validation_images=images,
        validation_labels=labels,
        mean=MEAN,
        std=STD,
    )


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("name", "naswott", f"one of {', '.join((*PROXIES, PREDICTOR))}"),
        ("name", "none", f"one of {', '.join((*PROXIES, PREDICTOR))}"),
        ("ratio", 0, "an integer at least 1"),
        ("ratio", 2.5, "an integer at least 1"),
        ("batch_size", 3, "an integer at least 4"),
        ("trials", 0, "an integer at least 1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError) as error:
        Prefilter(**{field: value})
    near = {"naswott": " (did you mean naswot?)"}
    assert str(error.value) == f"prefilter.{field} must be {allowed}, got {value!r}{near.get(value, '')}"


def test_by_default_there_is_none() -> None:
    assert Prefilter() == Prefilter(name=None, ratio=8, batch_size=32, trials=None)


def test_a_predictor_that_would_never_choose_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        Prefilter(name=PREDICTOR, trials=16)
    assert str(error.value) == (
        "prefilter.trials must be above 16 with prefilter=predictor, which chooses nothing before there are 16 "
        "results; got 16"
    )
    assert Prefilter(name=PREDICTOR, trials=17).trials == 17


@pytest.mark.parametrize("name", (*PROXIES, PREDICTOR))
def test_every_proxy_is_allowed(name: str) -> None:
    assert Prefilter(name=name).name == name


def test_the_highest_score_is_chosen_and_the_first_of_equals() -> None:
    candidates = [("a", 1.0), ("b", 3.0), ("c", 3.0), ("d", -math.inf)]
    assert choose(candidates, lambda candidate: candidate[1]) == ("b", 3.0)
    assert choose(candidates[3:], lambda candidate: candidate[1]) == ("d", -math.inf)
    assert choose("xyz", lambda _: -math.inf) == "x"


def test_each_candidate_is_scored_once() -> None:
    asked: list[int] = []
    assert choose(iter([3, 5, 4]), lambda candidate: asked.append(candidate) or candidate) == 5  # type: ignore[func-returns-value]
    assert asked == [3, 5, 4]


def test_no_candidates_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        choose([], lambda _: 0.0)
    assert str(error.value) == "candidates must hold at least one"


def test_nothing_is_left_where_the_searcher_says_so() -> None:
    """A searcher that has one proposal, of which it is not asked twice, and then none."""
    problem = Problem(space=choices(window=[1, 2]))
    left: list[Any] = [{"stage1.window": 1}]
    propose = prefiltered(lambda *_: left.pop() if left else None, problem, lambda _: lambda _: 0.0, ratio=3)
    assert propose(History(), np.random.default_rng(0)) == {"stage1.window": 1}
    assert propose(History(), np.random.default_rng(0)) is None


def test_the_same_network_is_scored_once() -> None:
    asked: list[Architecture] = []

    def count(architecture: Architecture) -> float:
        asked.append(architecture)
        return float(len(asked))

    of = remembered(count)
    same = Architecture(stages=(Stage(blocks=1, group_width=8, window=Window(ratio=2.5)),), pyramid=(1,), widening=2)
    assert same != WIDE
    assert [of(WIDE), of(NARROW), of(same), of(WIDE)] == [1, 2, 1, 1]
    assert asked == [WIDE, NARROW]


def test_the_score_is_that_of_normalised_training_images_of_every_class() -> None:
    parts = split()
    of = scorer(Prefilter(name="snip", batch_size=6), parts, classes=3, seed=2)
    mean, std = (np.array(values)[:, None, None] for values in (MEAN, STD))
    normalised = (parts.train_images / 255 - mean) / std
    chosen = stratified_order(parts.train_labels, seed=2)[:6]
    assert sorted(parts.train_labels[chosen]) == [0, 1, 1, 2, 2, 2]
    batch = Batch(torch.tensor(normalised[chosen]).float(), torch.tensor(parts.train_labels[chosen]))
    expected = [score("snip", network, batch, classes=3, seed=2) for network in (NARROW, WIDE)]
    assert [of(NARROW), of(WIDE)] == pytest.approx(expected, rel=1e-4)
    assert expected[0] != pytest.approx(expected[1], rel=1e-2)


def test_it_chooses_among_architectures() -> None:
    of = scorer(Prefilter(name="params", batch_size=4), split(), classes=3, seed=0)
    assert choose([NARROW, WIDE, NARROW], of) is WIDE


def test_fewer_images_than_asked_for_are_enough() -> None:
    assert math.isfinite(scorer(Prefilter(name="naswot", batch_size=64), split(), classes=3, seed=0)(NARROW))


def record(number: int, values: Mapping[str, Value], outcome: str = COMPLETED) -> TrialRecord:
    architecture = space().decode(values)
    errors = {} if outcome == RUNNING else {1: 0.5 - 0.1 * number % 0.3}
    facts = {"fingerprint": architecture.fingerprint()}
    return TrialRecord(number=number, outcome=outcome, values=values, errors=errors, facts=facts)


def proposals(searcher: Propose, history: History, number: int) -> list[Mapping[str, Value] | None]:
    return [searcher(history, np.random.default_rng(seed)) for seed in range(number)]


def params(architecture: Architecture) -> float:
    return float(architecture.stages[0].blocks)


def test_the_best_of_so_many_is_proposed() -> None:
    problem = Problem(space=space())
    searcher = careless(problem.space)
    chosen = prefiltered(searcher, problem, lambda history: params, 8)
    blocks = [values["stage1.blocks"] for values in proposals(chosen, History(), 20) if values]
    assert len(blocks) == 20
    assert sum(number == 3 for number in blocks) >= 17


def test_without_a_score_a_proposal_is_the_searchers_own() -> None:
    problem = Problem(space=space())
    searcher = careless(problem.space)
    chosen = prefiltered(searcher, problem, lambda history: None, 8)
    assert proposals(chosen, History(), 5) == proposals(searcher, History(), 5)


def test_a_prior_is_of_the_first_trials_alone() -> None:
    """Those that run count, those that failed do not."""
    problem = Problem(space=space())
    scoring = first(2, problem, lambda history: params)
    values = [v for v in proposals(careless(problem.space), History(), 4) if v]
    history = History([record(0, values[0]), record(1, values[1], FAILED)])
    assert scoring(history) is params
    history.put(record(2, values[2], RUNNING))
    assert scoring(history) is None
    history.put(record(2, values[2], FAILED))
    assert scoring(history) is params
    history.put(record(3, values[3]))
    assert scoring(history) is None


def test_a_proxy_scores_whatever_the_history_says() -> None:
    problem = Problem(space=space())
    scoring = make_scoring(Prefilter(name="params", batch_size=4), problem, split(), classes=3, seed=0)
    score = scoring(History())
    assert score is not None
    assert score(WIDE) > score(NARROW)
    limited = make_scoring(Prefilter(name="params", batch_size=4, trials=1), problem, split(), classes=3, seed=0)
    assert limited(History()) is not None
    [values] = proposals(careless(problem.space), History(), 1)
    assert values is not None
    assert limited(History([record(0, values)])) is None


def test_a_predictor_waits_for_results() -> None:
    problem = Problem(space=space())
    scoring = make_scoring(Prefilter(name=PREDICTOR), problem, split(), classes=3, seed=0)
    values = [v for v in proposals(careless(problem.space), History(), 16) if v]
    history = History(record(number, v) for number, v in enumerate(values[:15]))
    assert scoring(history) is None
    history.put(record(15, values[15]))
    assert scoring(history) is not None
