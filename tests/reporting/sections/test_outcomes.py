from __future__ import annotations

from reporting.sections import outcomes
from searchers.record import COMPLETED, DUPLICATE, PRUNED, REFUSED
from tests.reporting.records import run, trial

TRIALS = [
    trial(0, COMPLETED, 0.5, 0.4, 0.3, seconds=100.0),
    trial(1, PRUNED, 0.5, seconds=20.0),
    trial(2, DUPLICATE, 0.5, 0.4, 0.3, duplicate_of=0),
    trial(3, DUPLICATE, 0.5, duplicate_of=1),
    trial(4, REFUSED),
]


def test_a_stacked_bar_for_each_run() -> None:
    section = outcomes.section([run(*TRIALS), run(*TRIALS[1:2], index=1, name="b")])
    data = section.panels[0].figure.data
    assert [(trace.name, trace.y[0], trace.x[0]) for trace in data] == [
        ("completed", "a", 1), ("stopped early", "a", 1), ("stopped early", "b", 1), ("duplicate", "a", 2),
        ("refused", "a", 1),
    ]  # fmt: skip
    assert [trace.showlegend for trace in data] == [True, True, False, True, True]
    assert section.data is not None
    assert section.data["trials"].sum() == 6


def test_what_was_saved() -> None:
    section = outcomes.section([run(*TRIALS, description={"trial": {"epochs": 3}})])
    assert [note.text for note in section.notes] == [
        "2 duplicates spared 4 epochs, which took 2 min", "stopping 1 trials early spared 2 epochs"
    ]  # fmt: skip


def test_what_is_not_known_is_not_said() -> None:
    lost = [trial(2, DUPLICATE, 0.5, duplicate_of=0), TRIALS[1]]
    assert [note.text for note in outcomes.section([run(*lost)]).notes] == ["1 duplicates spared 0 epochs"]


def test_nothing_to_show() -> None:
    assert outcomes.section([run()]).empty == "nothing was proposed yet"
