from __future__ import annotations

from pathlib import Path

import pytest

from reporting.overview import facts, remarks
from reporting.runs import GOING, STOPPED, Run
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING
from tests.reporting.records import run, trial

WHEN = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:30:00+00:00"}


def test_a_search_in_a_few_lines() -> None:
    trials = [
        trial(0, COMPLETED, 0.5, 0.25, **WHEN),
        *(trial(i, outcome) for i, outcome in enumerate((PRUNED, RUNNING, FAILED, DUPLICATE, REFUSED), start=1)),
    ]
    of = run(
        *trials,
        description={"search_space": {"name": "windowed"}, "dataset": {"name": "cifar10"}, "seed": 3,
                     "objective": ["error", "macs"]},
        settings={"searcher": {"_target_": "searchers.algorithms.tpe.Tpe"}, "scheduler": {"_target_": "a.Asha"}},
        environment={"cluster": "2 CPUs, 1 GPUs", "cpu": {"model": "Fast"}, "gpus": ["H200"]},
    )  # fmt: skip
    assert dict(facts(of)) == {
        "best error": "25.00 %, trial 0, 2 epochs",
        "trials": "1 trained to the end, 1 stopped early, 1 in training, 1 failed, 1 duplicates, 1 refused",
        "time": "2026-01-01 00:00 UTC, 30 min, 6 trials an hour",
        "search": "windowed, Tpe, Asha, seed 3",
        "minimises": "error and multiply-adds",
        "data": "cifar10",
        "on": "2 CPUs, 1 GPUs, Fast, H200",
        "folder": "runs/a",
    }


def test_a_best_beyond_the_limits_is_said_to_be() -> None:
    over = trial(0, COMPLETED, 0.5, 0.25, violations={"error": 0.25})
    assert dict(facts(run(over)))["best error"] == "25.00 %, trial 0, 2 epochs, beyond the limits as all are"
    assert dict(facts(run(over, trial(1, COMPLETED, 0.5))))["best error"] == "50.00 %, trial 1, 1 epochs"


def test_what_is_not_known_is_not_said() -> None:
    assert dict(facts(run())) == {"best error": "none yet", "trials": "none yet", "folder": "runs/a"}
    odd = run(description={"search_space": "x", "dataset": [1]}, settings={"searcher": 3}, environment={"cpu": "y"})
    assert dict(facts(odd)).keys() == {"best error", "trials", "folder"}


@pytest.mark.parametrize(
    ("of", "remark"),
    [
        (run(state=GOING), "a is still running: this is what there is so far."),
        (
            run(state=STOPPED, path=Path("runs/x")),
            "a stopped before its end. Go on: python search.py ... run=runs/x resume=true",
        ),
        (run(problems=["x", "y"]), "a: 2 files or trials could not be read, see the end."),
    ],
)
def test_what_one_must_know_first(of: Run, remark: str) -> None:
    assert remarks([of]) == [remark]


def test_runs_whose_errors_are_of_other_kinds() -> None:
    first = run(description={"dataset": {"name": "cifar10", "images": 9}, "trial": {"epochs": 3}})
    alike = run(description={"dataset": {"name": "cifar10", "images": 9}, "trial": {"epochs": 3}, "seed": 1}, name="b")
    other = run(description={"dataset": {"name": "digits", "images": 9}, "trial": {"epochs": 9}}, name="c")
    assert remarks([first, alike, run(name="unknown")]) == []
    assert remarks([first, alike, other]) == [
        "Their errors may not be comparable: dataset.name is 'cifar10' in a and 'digits' in c; "
        "trial.epochs is 3 in a and 9 in c."
    ]
