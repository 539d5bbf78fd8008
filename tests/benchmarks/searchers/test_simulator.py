"""Simulated searches, followed by hand."""

import math
from typing import Any

import numpy as np
import pytest
import simulator
from simulator import SEED, Setting, Trial, simulate
from trajectory import Regret, incumbents

from search_spaces.knobs import Value
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, PRUNED, REFUSED, RUNNING
from searchers.session import GIVE_UP, RUT
from tests.benchmarks.searchers.toy import problem, propose, toy

ALL = ("00", "01", "10", "11")


def test_one_trial_after_the_other() -> None:
    search = simulate(toy(), problem(), propose(ALL), Setting(evaluations=4))
    assert search.rows.tolist() == [0, 1, 2, 3]
    assert search.seconds.tolist() == [3, 9, 18, 30]
    assert search.ended == 30
    assert search.epochs.tolist() == [3, 3, 3, 3]
    assert search.observed == pytest.approx([0.5, 0.3, 0.325, 0.45])
    assert incumbents(search, toy()).tolist() == [0, 1, 1, 1]
    assert Regret(toy()).after_each(search) == pytest.approx([20, 0, 0, 0])
    assert (search.proposals, search.duplicates, search.refused, search.exhausted) == (4, 0, 0, False)


def test_two_workers_share_the_time() -> None:
    search = simulate(toy(), problem(), propose(ALL), Setting(evaluations=4, workers=2))
    # 00 until 3, then 10 until 12; 01 until 6, then 11 until 18
    assert search.rows.tolist() == [0, 1, 2, 3]
    assert search.seconds.tolist() == [3, 6, 12, 18]


def test_more_workers_than_trials() -> None:
    search = simulate(toy(), problem(), propose(("11", "10", "01", "00")), Setting(evaluations=4, workers=64))
    assert search.rows.tolist() == [0, 1, 2, 3]
    assert search.seconds.tolist() == [3, 6, 9, 12]


def test_a_duplicate_takes_no_time_and_is_no_evaluation() -> None:
    history = History()
    search = simulate(
        toy(), problem(), propose(("00", "00", "01", "00", "10")), Setting(evaluations=3), history=history
    )
    assert search.rows.tolist() == [0, 1, 2]
    assert search.seconds.tolist() == [3, 9, 18]
    assert (search.proposals, search.duplicates) == (5, 2)
    assert [record.outcome for record in history] == [COMPLETED, DUPLICATE, COMPLETED, DUPLICATE, COMPLETED]
    assert history[3].facts["duplicate_of"] == 0
    assert history[3].errors == history[0].errors == {1: 0.9, 3: 0.5}


def test_a_duplicate_of_a_running_trial_waits_for_it() -> None:
    seen: list[list[str]] = []
    told = propose(("00", "00", "01", "10"))

    def watched(history: History, generator: np.random.Generator) -> Any:
        seen.append([record.outcome for record in history])
        return told(history, generator)

    search = simulate(toy(), problem(), watched, Setting(evaluations=3, workers=2))
    assert seen == [[], [RUNNING], [RUNNING, RUNNING], [COMPLETED, DUPLICATE, RUNNING]]
    assert search.seconds.tolist() == [3, 6, 12]


def test_what_the_table_does_not_have_is_refused() -> None:
    history = History()
    search = simulate(toy(), problem(), propose(("20", "00", "12", "01")), Setting(evaluations=2), history=history)
    assert search.rows.tolist() == [0, 1]
    assert (search.proposals, search.refused, search.duplicates) == (4, 2, 0)
    assert [record.outcome for record in history] == [REFUSED, COMPLETED, REFUSED, COMPLETED]


def test_a_searcher_in_a_rut_is_helped_out_and_then_given_up() -> None:
    search = simulate(toy(), problem(), propose(["00"]), Setting(evaluations=10))
    assert sorted(search.rows.tolist()) == [0, 1, 2, 3]
    assert search.exhausted
    assert search.duplicates + search.refused == search.proposals - 4
    assert 2 * RUT <= search.proposals < GIVE_UP


def test_a_searcher_that_finds_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "GIVE_UP", RUT - 1)
    search = simulate(toy(), problem(), propose(["00"]), Setting(evaluations=10))
    assert (search.rows.tolist(), search.proposals, search.exhausted) == ([0], RUT, True)


def test_a_searcher_that_has_nothing_left_ends_the_search() -> None:
    left = [{"a": 0, "b": 1}, {"a": 0, "b": 0}]
    search = simulate(toy(), problem(), lambda *_: left.pop() if left else None, Setting(evaluations=4, workers=3))
    assert search.rows.tolist() == [0, 1]
    assert (search.proposals, search.duplicates, search.exhausted) == (2, 0, True)


def test_a_search_ends_when_its_time_is_over() -> None:
    search = simulate(toy(), problem(), propose(ALL), Setting(evaluations=4, seconds=10))
    assert search.rows.tolist() == [0, 1]
    assert search.ended == 10
    exact = simulate(toy(), problem(), propose(ALL), Setting(evaluations=4, seconds=18))
    assert exact.rows.tolist() == [0, 1, 2]


def test_a_search_without_any_result() -> None:
    search = simulate(toy(), problem(), propose(ALL), Setting(evaluations=4, seconds=2))
    assert len(search) == 0
    assert Regret(toy()).after_each(search).tolist() == []


def test_one_seed_is_observed_and_the_mean_judges() -> None:
    table, regrets = toy(), set()
    for seed in range(30):
        search = simulate(
            table, problem(), propose(("01", "10", "11", "00")), Setting(evaluations=4, observe=SEED, seed=seed)
        )
        assert search.observed[0] in (0.4, 0.2)
        assert search.observed[1] in (0.3, 0.35)
        best = search.rows[np.argmin(search.observed)]
        assert Regret(table).after_each(search)[-1] == pytest.approx(100 * (table.truth[best] - 0.3))
        regrets.add(round(Regret(table).after_each(search)[-1], 6))
    assert regrets == {0, 2.5}


class Strict:
    """Stops what is above 0.75 after the first epoch."""

    def __init__(self, decision: str = "STOP") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._decision = decision

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        self.calls.append(("add", trial.config["number"]))

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self.calls.append((trial.trial_id, result["epoch"], result["validation_error"]))
        return self._decision if result["validation_error"] > 0.75 else "CONTINUE"

    def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self.calls.append(("complete", trial.config["number"], result["epoch"]))


def test_a_scheduler_stops_trials() -> None:
    history, strict = History(), Strict()
    search = simulate(toy(), problem(), propose(ALL), Setting(evaluations=4), scheduler=strict, history=history)
    assert search.rows.tolist() == [0, 1, 2, 3]
    assert search.epochs.tolist() == [1, 1, 3, 3]
    assert search.seconds.tolist() == [1, 3, 12, 24]
    assert search.observed == pytest.approx([0.9, 0.8, 0.325, 0.45])
    assert incumbents(search, toy()).tolist() == [-1, -1, 2, 2], "what was stopped early is no result"
    assert Regret(toy()).after_each(search) == pytest.approx([20, 20, 2.5, 2.5])
    assert [record.outcome for record in history] == [PRUNED, PRUNED, COMPLETED, COMPLETED]
    assert history[2].errors == pytest.approx({1: 0.7, 3: 0.325})
    assert strict.calls[:5] == [("add", 0), ("0", 1, 0.9), ("add", 1), ("1", 1, 0.8), ("add", 2)]
    assert [call for call in strict.calls if call[0] == "complete"] == [("complete", 2, 3), ("complete", 3, 3)]


def test_a_worker_is_free_when_its_trial_is_stopped() -> None:
    search = simulate(toy(), problem(), propose(ALL), Setting(evaluations=4, workers=2), scheduler=Strict())
    # 00 until 1, then 10 until 10; 01 until 2, then 11 until 14
    assert search.seconds.tolist() == [1, 2, 10, 14]


def test_a_scheduler_that_pauses_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a scheduler must decide CONTINUE or STOP here, got 'PAUSE'$"):
        simulate(toy(), problem(), propose(ALL), Setting(evaluations=4), scheduler=Strict("PAUSE"))


def drawn(history: History, generator: np.random.Generator) -> dict[str, Value]:
    return {"a": int(generator.integers(3)), "b": int(generator.integers(3))}


def test_the_same_seed_gives_the_same_search() -> None:
    first, again, other = (
        simulate(toy(), problem(), drawn, Setting(evaluations=4, observe=SEED, seed=seed)) for seed in (3, 3, 4)
    )
    assert first.rows.tolist() == again.rows.tolist()
    assert first.observed.tolist() == again.observed.tolist()
    assert (first.rows.tolist(), first.observed.tolist()) != (other.rows.tolist(), other.observed.tolist())


def test_the_generator_is_made_from_the_seed_and_the_number_of_the_trial() -> None:
    draws = []

    def watched(history: History, generator: np.random.Generator) -> Any:
        draws.append((len(history), generator.integers(2**60)))
        return {"a": len(history) % 2, "b": len(history) // 2}

    simulate(toy(), problem(), watched, Setting(evaluations=4, seed=7))
    assert draws == [(n, np.random.default_rng(np.random.SeedSequence([7, n])).integers(2**60)) for n in range(4)]


def test_a_trial_carries_its_costs_and_its_time() -> None:
    history = History()
    simulate(toy(), problem(("error", "macs")), propose(["10"]), Setting(evaluations=1), history=history)
    assert history[0].measures() == pytest.approx({"error": 0.325, "macs": 30})
    assert history[0].fingerprint == "10"
    assert history[0].facts["seconds"] == 9


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"evaluations": 0}, "evaluations must be an integer at least 1, got 0"),
        ({"workers": 0}, "workers must be an integer at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer at least 0, got -1"),
        ({"observe": "best"}, "observe must be one of mean, seed, got 'best'"),
        ({"seconds": 0.0}, "seconds must be a number above 0, got 0.0"),
        ({"seconds": math.nan}, "seconds must be a number above 0, got nan"),
    ],
)
def test_a_setting_out_of_range_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Setting(**{"evaluations": 1, **fields})
