from __future__ import annotations

from typing import Any

import pytest

from reporting.sections import importance
from searchers.record import PRUNED
from tests.reporting.records import run, trial


def trials(number: int = 60) -> list[Any]:
    return [
        trial(i, PRUNED, 0.1 + 0.01 * (i % 7), *[0.9] * (i < 10), values={"matters": i % 7, "idle": i % 3})
        for i in range(number)
    ]


def test_bars_of_both_methods_for_each_run() -> None:
    section = importance.section([run(*trials()), run(*trials(20), index=1, name="b")])
    assert [panel.name for panel in section.panels] == ["importance-0", "importance-1"]
    ped_anova, fanova = section.panels[0].figure.data
    assert (ped_anova.name, fanova.name) == ("PED-ANOVA", "fANOVA")
    assert ped_anova.y == fanova.y == ("matters", "idle")
    assert ped_anova.x[0] > 80
    assert [note.text for note in section.notes] == [
        "60 trials after epoch 1", "20 trials after epoch 1, which are few: read the order as a hint"
    ]  # fmt: skip
    assert section.data is not None
    shares = section.data.groupby(["run", "method"])["share"].sum()
    assert shares.tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize(
    ("of", "note"),
    [
        (trials(9), "it takes 10 trials with a result, there are 9"),
        ([], "it takes 10 trials with a result, there are 0"),
        ([trial(i, PRUNED, 0.1 * i, values={"a": 1}) for i in range(12)], "the knobs, or the errors, are all the same"),
    ],
)
def test_nothing_to_show(of: list[Any], note: str) -> None:
    section = importance.section([run(*of)])
    assert (section.panels, [found.text for found in section.notes]) == ([], [note])
    assert section.empty == "there are not enough trials yet, or no knobs"
