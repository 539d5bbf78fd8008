from __future__ import annotations

import pytest

from reporting.sections import rungs
from searchers.record import COMPLETED, PRUNED
from tests.reporting.records import run, trial


def trials(number: int = 12) -> list[object]:
    """The second epoch ranks as the third, the first the other way round."""
    return [trial(i, COMPLETED, 0.9 - 0.01 * i, 0.5 + 0.01 * i, 0.2 + 0.01 * i) for i in range(number)]


def test_tau_of_each_earlier_epoch() -> None:
    section = rungs.section([run(*trials(), *(trial(20 + i, PRUNED, 0.5) for i in range(5)))])  # type: ignore[arg-type]
    (panel,) = section.panels
    (trace,) = (trace for trace in panel.figure.data if trace.name)
    assert trace.name == "with epoch 3 (12 trials)"
    assert (trace.x, trace.y) == ((1, 2), (-1, 1))
    assert trace.customdata == ([12, 17, 1], [12, 12, 2])
    assert section.data is not None
    assert section.data[["epoch", "later", "n", "of", "tau"]].values.tolist() == [[1, 3, 12, 17, -1], [2, 3, 12, 12, 1]]


def test_also_against_the_last_epoch_that_ten_reached() -> None:
    longer = [trial(20 + i, COMPLETED, 0.9 - 0.01 * i, 0.5, 0.4, 0.3 + 0.01 * i) for i in range(4)]
    (panel,) = rungs.section([run(*trials(), *longer)]).panels  # type: ignore[arg-type]
    assert [trace.name for trace in panel.figure.data if trace.name] == [
        "with epoch 3 (16 trials)", "with epoch 4 (4 trials)"
    ]  # fmt: skip
    few = panel.figure.data[-1]
    assert few.error_y.array[0] is None


def test_each_run_has_its_lines_beside_the_others() -> None:
    (panel,) = rungs.section([run(*trials()), run(*trials(), index=1, name="b")]).panels  # type: ignore[arg-type]
    first, second = (trace for trace in panel.figure.data if trace.name)
    assert (first.name, second.meta["run"]) == ("a, with epoch 3 (12 trials)", 1)
    assert second.x == pytest.approx([x + 0.06 for x in first.x])


def test_nothing_to_show() -> None:
    empty = "it takes trials that were trained for more than one epoch"
    assert rungs.section([run(trial(0, PRUNED, 0.5))]).empty == empty
    assert rungs.section([run()]).empty == empty
