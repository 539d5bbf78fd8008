from __future__ import annotations

from reporting.section import Table
from reporting.sections import best
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED
from tests.reporting.records import run, trial

COSTS = {"params": 1_234_567, "macs": 9_000_000}
TRIALS = [
    trial(0, COMPLETED, 0.5, 0.3, **COSTS),
    trial(1, COMPLETED, 0.5, 0.2, params=2_000_000, macs=10_000_000),
    trial(2, PRUNED, 0.1, **COSTS),
    trial(3, FAILED, 0.05, **COSTS),
    trial(4, DUPLICATE, 0.5, 0.2, **COSTS),
]


def heads(table: Table | None) -> list[str]:
    assert table is not None
    return [column.title for column in table.columns]


def texts(table: Table | None) -> list[list[str]]:
    assert table is not None
    return [[cell.text for cell in row.cells] for row in table.rows]


def test_trained_furthest_first_then_the_lowest_error() -> None:
    section = best.section([run(*TRIALS)], top=20)
    assert heads(section.table) == ["trial", "error", "what each stage reads", "epochs", "params", "MACs"]
    assert texts(section.table) == [
        ["1", "20.00 %", "", "2", "2M", "10M"],
        ["0", "30.00 %", "", "2", "1.23M", "9M"],
        ["2", "10.00 %", "", "1", "1.23M", "9M"],
    ]
    assert section.table is not None
    assert all("<svg" in row.cells[2].markup for row in section.table.rows)
    assert [cell.order for cell in section.table.rows[1].cells] == [
        0, 0.3, "W2 1x8g4 w=0.5G plain", 2, 1_234_567, 9_000_000
    ]  # fmt: skip
    assert section.data is not None
    assert list(section.data["trial"]) == [1, 0, 2]


def test_what_is_beyond_the_limits_comes_last() -> None:
    over = trial(5, COMPLETED, 0.5, 0.1, **COSTS, violations={"error": 0.25, "latency": 1.5})
    section = best.section([run(*TRIALS, over)], top=20)
    assert heads(section.table)[-1] == "beyond"
    rows = [(row[0], row[-1]) for row in texts(section.table)]
    assert rows == [("1", ""), ("0", ""), ("2", ""), ("5", "error by 25.00 %, latency in ms by 150.00 %")]
    assert section.text.endswith(" Those beyond the limits of their search come after all that are within.")


def test_so_many_of_each_run() -> None:
    section = best.section([run(*TRIALS), run(*TRIALS, index=1, name="b")], top=1)
    assert heads(section.table)[0] == "run"
    assert [row[:2] for row in texts(section.table)] == [["a", "1"], ["b", "1"]]
    assert section.table is not None
    assert [row.run for row in section.table.rows] == [0, 1]
    assert section.data is not None
    assert list(section.data["run"]) == ["a", "b"]


def test_the_front_of_several_objectives() -> None:
    section = best.section([run(*TRIALS, description={"objective": ["error", "params"]})], top=9)
    assert heads(section.table)[-1] == "front"
    assert [(row[0], row[-1]) for row in texts(section.table)] == [("1", "yes"), ("0", "yes"), ("2", "")]
    assert section.text.endswith("On the front are those that nothing beats in error and parameters at once.")


def test_an_architecture_that_cannot_be_read_has_no_drawing() -> None:
    from dataclasses import replace

    section = best.section([run(replace(TRIALS[0], architecture=None))], top=9)
    assert section.table is not None
    assert "<svg" not in section.table.rows[0].cells[2].markup


def test_nothing_to_show() -> None:
    section = best.section([run(trial(0, FAILED))], top=9)
    assert (section.empty, section.data) == ("no trial has a result yet", None)
