from __future__ import annotations

from typing import Any

import pytest

from reporting.sections import windows
from searchers.record import PRUNED
from seqconv import parse_pattern
from tests.reporting.records import run, trial


def trials(*of: Any, each: int = 6, better: float = 0.0) -> list[Any]:
    """So many trials of each window, which wide ones are good for."""
    return [
        trial(i, PRUNED, 0.5 - 0.05 * place - better + 0.001 * i, window=window, macs=1e6)
        for i, (place, window) in enumerate((place, window) for place, window in enumerate(of) for _ in range(each))
    ]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("0.25G", "g' up to G/2"), ("0.5G", "g' up to G/2"), (4, "g' up to G/2"), (5, "g' up to G"),
        ("1G", "g' up to G"), ("1.25G", "g' above G"), (20, "g' above G"), ("dense", "dense"), ("log", "log"),
        ("dilated(2, 2)", "dilated"),
    ],
)  # fmt: skip
def test_windows_by_what_they_cost(pattern: Any, name: str) -> None:
    assert windows.kind(parse_pattern(pattern), 8) == name


def test_a_distribution_for_each_kind() -> None:
    section = windows.section([run(*trials("0.25G", "0.5G", "1G", "log", "2G", each=5))])
    (panel,) = section.panels
    assert (panel.name, panel.title) == ("windows-1", "stage 1, after 1 epoch")
    curves = [trace for trace in panel.figure.data if trace.showlegend is None]
    bands = [trace for trace in panel.figure.data if trace.fill == "toself"]
    assert [trace.name for trace in curves] == ["g' up to G/2 (10)", "g' up to G (5)", "g' above G (5)", "log (5)"]
    assert len(bands) == len(curves)
    assert curves[0].y[0] < 100
    assert curves[0].y[-1] == curves[2].y[-1] == 100
    assert len({trace.line.dash for trace in curves}) == 4
    assert section.data is not None
    assert set(section.data.columns) == {
        "comparison", "epoch", "group", "trials", "error", "share", "low", "high"
    }  # fmt: skip


def test_a_kind_of_few_trials_is_left_out() -> None:
    section = windows.section([run(*trials("0.5G", "2G"), *trials("log", each=2))])
    assert "log" not in {trace.legendgroup for trace in section.panels[0].figure.data}


def test_runs_are_compared_after_an_epoch_that_both_have() -> None:
    longer = [trial(i, PRUNED, 0.5, 0.4, 0.3, window="1G") for i in range(6)]
    section = windows.section([run(*longer), run(*trials("1G"), index=1, name="b")])
    (panel,) = section.panels
    assert (panel.name, panel.run, panel.title) == ("windows-runs", None, "all trials after 1 epoch")
    assert [trace.meta["run"] for trace in panel.figure.data] == [0, 1, 0, 1]


def test_figures_of_a_run_are_of_that_run() -> None:
    section = windows.section([run(*trials("0.5G", "2G")), run(*trials("0.5G", "1G"), index=1, name="b")])
    assert [(panel.name, panel.run) for panel in section.panels] == [
        ("windows-runs", None), ("windows-1-0", 0), ("windows-1-1", 1)
    ]  # fmt: skip
    assert section.panels[2].title == "b: stage 1, after 1 epoch"


def test_nothing_to_show() -> None:
    for of in ([], trials("1G"), trials("0.5G", "2G", each=4)):
        section = windows.section([run(*of)])
        assert section.empty == "it takes two kinds of windows with 5 trials each that have a result"
