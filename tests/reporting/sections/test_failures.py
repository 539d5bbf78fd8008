from __future__ import annotations

from reporting.sections import failures
from searchers.record import COMPLETED, FAILED, REFUSED
from tests.reporting.records import run, trial

TRACE = "Traceback\n  File a\nDiverged: loss is nan at step {} of 90"
TRIALS = [
    trial(0, COMPLETED, 0.5),
    trial(1, FAILED, reason=TRACE.format(50)),
    trial(2, REFUSED, reason="params 1,234 is above its maximum 800"),
    trial(3, FAILED, reason=TRACE.format(7)),
    trial(4, REFUSED, reason="params 99 is above its maximum 800"),
    trial(5, REFUSED, reason="macs 9.5 is above its maximum 8"),
    trial(6, FAILED),
    *(trial(10 + i, REFUSED, reason=f"params {i} is above its maximum 800") for i in range(20)),
]


def rows(*runs: object) -> list[list[str]]:
    table = failures.section(runs).table  # type: ignore[arg-type]
    assert table is not None
    return [[cell.text for cell in row.cells] for row in table.rows]


def test_equal_reasons_stand_together_failures_first() -> None:
    assert rows(run(*TRIALS)) == [
        ["failed", "2", "Diverged: loss is nan at step … of …", "1, 3"],
        ["failed", "1", "no reason was recorded", "6"],
        ["refused", "22", "params … is above its maximum …", f"2, 4, {', '.join(map(str, range(10, 20)))} and 10 more"],
        ["refused", "1", "macs 9.5 is above its maximum 8", "5"],
    ]  # fmt: skip


def test_the_whole_reason_is_folded_away() -> None:
    table = failures.section([run(*TRIALS)]).table
    assert table is not None
    assert [row.cells[2].details for row in table.rows] == [TRACE.format(50), "", "", ""]


def test_a_long_reason_is_cut_at_its_beginning() -> None:
    table = failures.section([run(trial(0, FAILED, reason="x\n" * 9000 + "the end"))]).table
    assert table is not None
    details = table.rows[0].cells[2].details
    assert len(details) == 4001
    assert details.startswith("…")
    assert details.endswith("the end")


def test_runs_stand_apart() -> None:
    found = rows(run(TRIALS[1]), run(TRIALS[3], index=1, name="b"))
    assert [row[0] for row in found] == ["a", "b"]


def test_nothing_to_show() -> None:
    section = failures.section([run(TRIALS[0])])
    assert (section.empty, section.data) == ("nothing failed, and no proposal was refused", None)
