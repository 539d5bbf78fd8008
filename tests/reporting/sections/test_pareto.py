from __future__ import annotations

from reporting.sections import pareto
from searchers.record import COMPLETED, FAILED, PRUNED
from tests.reporting.records import run, trial

TRIALS = [
    trial(0, COMPLETED, 0.5, 0.40, params=100, macs=5e6),
    trial(1, COMPLETED, 0.5, 0.30, params=200, macs=6e6),
    trial(2, COMPLETED, 0.5, 0.35, params=300, macs=7e6, latency=2.5),
    trial(3, PRUNED, 0.10, params=50, macs=1e6),
    trial(4, COMPLETED, 0.5, 0.20, params=4000, macs=5e6),
    trial(5, FAILED, 0.10, params=10),
]


def test_a_figure_for_each_cost_that_is_known() -> None:
    section = pareto.section([run(*TRIALS)])
    assert [panel.name for panel in section.panels] == ["pareto-params", "pareto-macs", "pareto-latency"]


def test_the_front_is_of_the_trials_that_came_furthest() -> None:
    early, furthest, front = pareto.section([run(*TRIALS)]).panels[0].figure.data
    assert list(early.x) == [50]
    assert list(furthest.x) == [100, 200, 300, 4000]
    assert (list(front.x), list(front.y)) == ([100, 200, 4000], [40, 30, 20])
    assert (early.marker.symbol, furthest.marker.symbol) == ("circle-open", "circle")


def test_the_data_tells_who_is_on_which_front() -> None:
    data = pareto.section([run(*TRIALS)]).data
    assert data is not None
    on_front = data.set_index("trial")["on_front_of_params"]
    assert [number for number, there in on_front.items() if there is True] == [0, 1, 4]
    assert data.set_index("trial").loc[4, "on_front_of_macs"]


def test_costs_far_apart_are_on_a_logarithmic_axis() -> None:
    params, macs, _ = pareto.section([run(*TRIALS)]).panels
    assert (params.figure.layout.xaxis.type, macs.figure.layout.xaxis.type) == ("log", None)
    assert pareto.section([run(trial(0, COMPLETED, 0.5, params=0))]).panels[0].figure.layout.xaxis.type is None


def test_each_run_has_its_front() -> None:
    data = pareto.section([run(*TRIALS[:2]), run(*TRIALS[2:], index=1, name="b")]).panels[0].figure.data
    assert [(trace.name, trace.meta["run"]) for trace in data if trace.showlegend] == [("a", 0), ("b", 1)]
    assert (list(data[2].x), list(data[5].x)) == ([100, 200], [300, 4000])


def test_what_breaks_a_limit_is_on_no_front() -> None:
    over = trial(9, COMPLETED, 0.5, 0.1, params=10, violations={"latency": 0.5})
    *_, front = pareto.section([run(*TRIALS, over)]).panels[0].figure.data
    assert list(front.x) == [100, 200, 4000]


def test_nothing_to_show() -> None:
    assert pareto.section([run(TRIALS[5])]).empty == "no trial has a result yet"
