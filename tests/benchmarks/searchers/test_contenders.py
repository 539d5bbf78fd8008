"""How contenders are written, and what they come to."""

from pathlib import Path

import contenders
import pytest
from plain_optuna import PlainOptuna
from simulator import Setting, simulate

import command_line
from searchers.history import History
from searchers.record import PRUNED
from tests.benchmarks.searchers.toy import problem, propose, toy


def test_every_searcher_of_the_configuration_is_known() -> None:
    configured = {path.stem for path in Path(command_line.CONF, "searcher").iterdir()}
    assert {"random", "tpe"} < configured
    assert set(contenders.searchers()) == configured | {"optuna_tpe", "optuna_nsga2"}


@pytest.mark.parametrize("contender", ["random", "tpe:startup_trials=2,candidates=5", "optuna_nsga2"])
def test_it_searches(contender: str) -> None:
    bound = contenders.propose(contender, problem())
    assert isinstance(bound, PlainOptuna) == contender.startswith("optuna")
    assert sorted(simulate(toy(), problem(), bound, Setting(evaluations=4)).rows.tolist()) == [0, 1, 2, 3]
    assert contenders.scheduler(contender, problem(), History()) is None


@pytest.mark.parametrize(
    ("objectives", "stopped"),
    [
        (("error",), ["01"]),  # behind the middle of 00 and 11
        (("error", "macs"), ["01", "10"]),  # none is dominated, and both lie between 00 and 11
    ],
)
def test_asha_is_that_of_the_search(objectives: tuple[str, ...], stopped: list[str]) -> None:
    """The rung is at epoch 1, and half of those that reached it go on."""
    history, over = History(), problem(objectives)
    asha = contenders.scheduler("random+asha:reduction_factor=2", over, history)
    told = propose(("00", "11", "01", "10"))
    search = simulate(toy(), over, told, Setting(evaluations=4), scheduler=asha, history=history)
    assert search.rows.tolist() == [0, 3, 1, 2]
    assert [record.fingerprint for record in history if record.outcome == PRUNED] == stopped


@pytest.mark.parametrize(
    ("contender", "message"),
    [
        ("randon", r"^searcher must be one of .*random.*, got 'randon' \(did you mean random"),
        ("tpe:startup_trials=-1", "^searcher.startup_trials must be an integer at least 0, got -1$"),
        ("optuna_tpe:seed=1", "^optuna_tpe takes no settings, got seed=1: it stands for Optuna as it is$"),
        ("random+", r"^random\+: after \+ comes a scheduler, one of .*asha"),
    ],
)
def test_what_cannot_be_read_is_refused(contender: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contenders.propose(contender, problem())


def test_an_unknown_scheduler_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^scheduler must be one of .*asha.*, got 'asho' \(did you mean asha"):
        contenders.scheduler("random+asho", problem(), History())
