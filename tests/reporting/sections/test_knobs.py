from __future__ import annotations

from typing import Any

import pytest

from reporting.sections import knobs
from searchers.record import COMPLETED, FAILED, PRUNED
from tests.reporting.records import run, trial


def of(*values: dict[str, Any]) -> list[Any]:
    return [trial(i, COMPLETED if i % 2 else PRUNED, 0.5 - 0.01 * i, values=v) for i, v in enumerate(values)]


def axes(*values: dict[str, Any]) -> dict[str, Any]:
    (panel,) = knobs.section([run(*of(*values))]).panels
    return {axis.label: axis for axis in panel.figure.data[0].dimensions}


def places(axis: Any) -> list[int]:
    """Of the trials from the first to the last, without how they are spread."""
    return [round(value) for value in axis.values]


def test_words_and_few_numbers_are_at_equal_distances_in_their_order() -> None:
    found = axes({"form": "plain", "groups": 8}, {"form": "b", "groups": 2}, {"form": "plain", "groups": 4})
    assert list(found) == ["form", "groups", "epochs", "error in %"]
    assert (found["form"].ticktext, places(found["form"])) == (("b", "plain"), [1, 0, 1])
    assert (found["groups"].ticktext, places(found["groups"])) == (("2", "4", "8"), [2, 0, 1])


def test_many_numbers_are_where_they_are() -> None:
    values = [{"rate": 0.1 * i} for i in range(20)]
    axis = axes(*values)["rate"]
    assert axis.ticktext is None
    assert axis.values == pytest.approx([value["rate"] for value in values])


def test_a_knob_that_is_not_active_has_a_place_of_its_own() -> None:
    axis = axes({"a": 1, "b": 0.5}, {"a": 2})["b"]
    assert (axis.ticktext, places(axis)) == (("\N{EN DASH}", "0.5"), [1, 0])
    many = axes({"a": 1}, *({"a": 1, "b": i} for i in range(40)))["b"]
    assert many.ticktext[0] == "\N{EN DASH}"
    assert len(many.ticktext) <= 13


def test_values_of_several_kinds() -> None:
    section = knobs.section([run(*of({"w": 4}, {"w": "dense"}, {"w": True}, {"w": 0.5}))])
    assert section.panels[0].figure.data[0].dimensions[0].ticktext == ("0.5", "4", "True", "dense")
    assert section.data is not None
    assert sorted(section.data["w"]) == ["0.5", "4", "True", "dense"]


def test_lines_of_one_value_are_spread_the_best_on_top() -> None:
    axis = axes(*({"a": 1} for _ in range(10)))["a"]
    assert list(axis.values) == sorted(axis.values)
    assert len(set(axis.values)) == 10
    assert max(axis.values) - min(axis.values) < 0.5


def test_the_best_are_dark_and_over_the_others() -> None:
    (panel,) = knobs.section([run(*of({"a": 1}, {"a": 2}, {"a": 3}))]).panels
    trace = panel.figure.data[0]
    assert list(trace.line.color) == [-50, -49, -48]
    assert trace.line.reversescale
    assert panel.figure.data[0].dimensions[-1].range[0] > panel.figure.data[0].dimensions[-1].range[1]


def test_runs_are_selected_by_the_first_axis() -> None:
    (panel,) = knobs.section([run(*of({"a": 1})), run(*of({"b": 1}), index=1, name="other")]).panels
    trace = panel.figure.data[0]
    assert trace.meta == {"axis": "run"}
    assert (trace.dimensions[0].ticktext, places(trace.dimensions[0])) == (("a", "other"), [0, 1])


def test_nothing_to_show() -> None:
    for trials in ([], of({}), [trial(0, FAILED, 0.1)]):
        assert knobs.section([run(*trials)]).empty == "no trial with knobs has a result yet"
