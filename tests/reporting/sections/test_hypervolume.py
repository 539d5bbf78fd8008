from __future__ import annotations

import itertools
from typing import Any

import pytest

from reporting.runs import Run
from reporting.sections import hypervolume
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, RUNNING
from tests.reporting.records import run, trial
from tests.reporting.sections.test_history import at


def of(*trials: Any, objectives: tuple[str, ...] = ("error", "params"), **fields: Any) -> Run:
    return run(*trials, description={"objective": list(objectives)}, **fields)


TRIALS = [
    trial(0, COMPLETED, 0.9, 0.5, params=100, **at(3)),
    trial(1, PRUNED, 0.1, params=1, **at(1)),
    trial(2, COMPLETED, 0.9, 0.3, params=300, **at(2)),
    trial(3, COMPLETED, 0.9, 0.6, params=300, **at(4)),
    trial(4, DUPLICATE, 0.9, 0.1, params=1, **at(5)),
    trial(5, FAILED, 0.1, params=1, **at(5)),
    trial(6, RUNNING, 0.1, params=1),
    trial(7, COMPLETED, 0.9, 0.1, params=1, violations={"latency": 0.5}, **at(6)),
    trial(8, COMPLETED, 0.9, 0.4, params=200, **at(7)),
]
WORST, BEST = (0.6, 300), (0.3, 100)
BOX = (0.33, 220)
"""From the best values to a tenth of the range beyond the worst ones."""


def share(*corners: tuple[float, float]) -> float:
    """What vectors that do not dominate each other, from left to right in error, dominate of the box."""
    sides = [(WORST[0] + 0.03 - error, WORST[1] + 20 - params) for error, params in corners]
    area = sides[-1][0] * sides[-1][1] + sum(a[1] * (a[0] - b[0]) for a, b in itertools.pairwise(sides))
    return area / (BOX[0] * BOX[1])


def test_the_share_of_the_box_by_trial_and_by_time() -> None:
    by_trial, by_time = hypervolume.section([of(*TRIALS)]).panels
    (line,) = by_trial.figure.data
    first, second, last = share((0.5, 100)), share((0.3, 300), (0.5, 100)), share((0.3, 300), (0.4, 200), (0.5, 100))
    assert list(line.x) == [0, 2, 3, 8]
    assert list(line.y) == pytest.approx([100 * value for value in (first, second, second, last)])
    assert list(line.customdata) == [1, 2, 2, 3]
    (line,) = by_time.figure.data
    assert list(line.x) == [2, 3, 4, 7]
    assert list(line.y) == pytest.approx([100 * value for value in (share((0.3, 300)), second, second, last)])
    assert [panel.name for panel in (by_trial, by_time)] == ["hypervolume-trial", "hypervolume-seconds"]


def test_the_data_has_the_reference() -> None:
    data = hypervolume.section([of(*TRIALS)]).data
    assert data is not None
    assert list(data["trial"]) == [0, 2, 3, 8]
    assert data["reference_error"].tolist() == pytest.approx([0.63] * 4)
    assert data["reference_params"].tolist() == [320.0] * 4
    assert data["hypervolume_by_trial"].iloc[-1] == data["hypervolume_by_seconds"].iloc[-1]


def test_runs_of_the_same_objectives_share_the_box() -> None:
    half, other = of(*TRIALS[:1]), of(*TRIALS[2:], index=1, name="b", objectives=("params", "error"))
    section = hypervolume.section([half, other])
    lines = section.panels[0].figure.data
    assert [(line.name, line.meta["run"], line.showlegend) for line in lines] == [("a", 0, True), ("b", 1, True)]
    assert [line.y[0] for line in lines] == pytest.approx([100 * share((0.5, 100)), 100 * share((0.3, 300))])
    assert [(note.run, note.text) for note in section.notes] == [
        (0, f"{100 * share((0.5, 100)):.2f} % by a front of 1 trial"),
        (1, f"{100 * share((0.3, 300), (0.4, 200)):.2f} % by a front of 2 trials"),
    ]


def test_runs_of_other_objectives_have_figures_of_their_own() -> None:
    timed = [trial(n, COMPLETED, 0.5, params=1, latency=float(n)) for n in range(2)]
    runs = [of(*TRIALS), of(*timed, index=1, name="b", objectives=("error", "latency")), run(index=2, name="c")]
    section = hypervolume.section(runs)
    assert [panel.name for panel in section.panels] == [
        "hypervolume-error-params-trial", "hypervolume-error-params-seconds", "hypervolume-error-latency-trial",
    ]  # fmt: skip
    assert section.panels[2].title == "error and latency in ms, by trial"
    assert [line.name for line in section.panels[2].figure.data] == ["b"]
    assert section.data is not None and list(section.data["run"]) == ["a"] * 4 + ["b"] * 2


def test_three_objectives_and_values_that_are_all_the_same() -> None:
    trials = [trial(n, COMPLETED, 0.5, params=100 - n, macs=7) for n in range(3)]
    (by_trial,) = hypervolume.section([of(*trials, objectives=("error", "params", "macs"))]).panels
    assert list(by_trial.figure.data[0].y) == pytest.approx([100 * 0.2 / 2.2, 100 * 1.2 / 2.2, 100.0])


def test_nothing_to_show() -> None:
    section = hypervolume.section([of(TRIALS[1])])
    assert (section.empty, section.panels, section.data) == ("no trial was trained to the end yet", [], None)
