from __future__ import annotations

from reporting.sections import history
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, RUNNING
from tests.reporting.records import run, trial


def at(hours: int) -> dict[str, str]:
    return {"started": "2026-01-01T00:00:00+00:00", "finished": f"2026-01-01T{hours:02d}:00:00+00:00"}


TRIALS = [
    trial(0, COMPLETED, 0.5, 0.4, **at(3)),
    trial(1, PRUNED, 0.1, **at(1)),
    trial(2, COMPLETED, 0.5, 0.3, **at(2)),
    trial(3, COMPLETED, 0.5, 0.35, **at(4)),
    trial(4, DUPLICATE, 0.5, 0.1, **at(5)),
    trial(5, FAILED, 0.1, **at(5)),
    trial(6, RUNNING, 0.6, started="2026-01-01T05:00:00+00:00"),
]


def test_the_lowest_error_so_far_is_of_trials_that_were_trained_to_the_end() -> None:
    by_trial, by_time = history.section([run(*TRIALS)]).panels
    others, complete, line = by_trial.figure.data
    assert (list(others.x), list(complete.x)) == ([1, 6], [0, 2, 3])
    assert (list(line.x), list(line.y)) == ([0, 2, 3, 6], [40, 30, 30, 30])
    others, complete, line = by_time.figure.data
    assert (list(others.x), list(line.x), list(line.y)) == ([1], [2, 3, 4, 4], [30, 30, 30, 30])


def test_a_hollow_mark_was_not_trained_to_the_end() -> None:
    others, complete, _ = history.section([run(*TRIALS)]).panels[0].figure.data
    assert (others.marker.symbol, complete.marker.symbol) == ("circle-open", "circle")


def test_runs_have_colours_and_names() -> None:
    data = history.section([run(*TRIALS), run(*TRIALS, index=1, name="b")]).panels[0].figure.data
    assert [trace.meta["run"] for trace in data] == [0, 0, 0, 1, 1, 1]
    assert [trace.name for trace in data if trace.showlegend] == ["a", "b"]
    assert data[0].marker.color != data[3].marker.color


def test_the_data() -> None:
    data = history.section([run(*TRIALS)]).data
    assert data is not None
    assert list(data["trial"]) == [0, 1, 2, 3, 6]
    assert data["seconds"].tolist()[:4] == [10_800, 3600, 7200, 14_400]


def test_without_times_it_is_by_trial_alone() -> None:
    section = history.section([run(trial(0, COMPLETED, 0.5))])
    assert [panel.name for panel in section.panels] == ["history-trial"]


def test_what_breaks_a_limit_is_not_the_best_so_far() -> None:
    over = trial(1, COMPLETED, 0.1, violations={"latency": 0.5})
    others, full, line = history.section([run(TRIALS[0], over)]).panels[0].figure.data
    assert (list(others.x), list(full.x), list(line.y)) == ([1], [0], [40, 40])


def test_a_run_without_a_trained_trial_has_no_line() -> None:
    *_, line = history.section([run(TRIALS[1])]).panels[0].figure.data
    assert (list(line.x), list(line.y)) == ([], [])


def test_nothing_to_show() -> None:
    section = history.section([run(TRIALS[5])])
    assert (section.empty, section.panels) == ("no trial has a result yet", [])
