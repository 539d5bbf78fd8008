from __future__ import annotations

from reporting.sections import curves
from searchers.record import COMPLETED, FAILED, PRUNED, RUNNING
from tests.reporting.records import run, trial

TRIALS = [
    trial(0, COMPLETED, 0.5, 0.4, 0.3, metrics=[{"epoch": 2.0, "train_loss": 1.5, "validation_error": 9.0}]),
    trial(1, PRUNED, 0.6),
    trial(2, COMPLETED, 0.5, 0.4, 0.2),
    trial(3, PRUNED, 0.7, 0.6),
    trial(4, RUNNING, 0.5),
    trial(5, FAILED, 0.9),
]


def test_a_trace_for_each_outcome_interrupted_between_trials() -> None:
    (panel,) = curves.section([run(*TRIALS)]).panels
    traces = {trace.name: trace for trace in panel.figure.data}
    assert list(traces) == ["stopped early", "in training", "trained to the end", "best, trial 2"]
    assert traces["trained to the end"].x == (1, 2, 3, None, 1, 2, 3, None)
    assert traces["trained to the end"].y == (50, 40, 30, None, 50, 40, 20, None)
    assert traces["trained to the end"].customdata == (0, 0, 0, None, 2, 2, 2, None)
    assert traces["best, trial 2"].y == (50, 40, 20, None)
    assert traces["stopped early"].x == (1, None, 1, 2, None)


def test_rungs_are_where_trials_were_stopped() -> None:
    (panel,) = curves.section([run(*TRIALS)]).panels
    assert [shape.x0 for shape in panel.figure.layout.shapes] == [1, 2]


def test_runs_are_on_one_scale() -> None:
    first, second = curves.section([run(*TRIALS), run(trial(0, COMPLETED, 0.1), index=1, name="b")]).panels
    assert first.figure.layout.yaxis.range == second.figure.layout.yaxis.range == (8, 72)
    assert (first.name, first.run, second.title) == ("curves-0", 0, "b")


def test_the_data_has_what_the_folder_of_a_trial_has() -> None:
    data = curves.section([run(*TRIALS)]).data
    assert data is not None
    row = data[(data["trial"] == 0) & (data["epoch"] == 2)].iloc[0]
    assert (row["train_loss"], row["validation_error"]) == (1.5, 0.4)
    assert 5 not in set(data["trial"])


def test_nothing_to_show() -> None:
    assert curves.section([run(TRIALS[5])]).empty == "no trial has a result yet"
