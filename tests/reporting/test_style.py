from __future__ import annotations

import math

import pytest

from reporting import style


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), (math.nan, ""), (0, "0"), (12, "12"), (0.1234567, "0.123"), (999.4, "999"), (999.6, "1k"),
        (1234, "1.23k"), (1_234_567, "1.23M"), (999_600, "1M"), (123_456_789_012, "123G"), (2e12, "2T"),
        (-1500, "-1.5k"),
    ],
)  # fmt: skip
def test_a_number_has_three_digits(value: float | None, text: str) -> None:
    assert style.short(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (math.inf, ""), (0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (60, "1 min"),
        (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min"), (97_200, "1 d 3 h"), (86_400 + 59, "1 d"),
    ],
)  # fmt: skip
def test_a_duration_has_two_units(seconds: float | None, text: str) -> None:
    assert style.duration(seconds) == text


def test_an_error_in_percent() -> None:
    assert (style.percent(0.20874), style.percent(None), style.percent(math.nan)) == ("20.87 %", "", "")


def test_runs_can_be_told_apart_without_colours() -> None:
    marks = {(style.colour(i), style.symbol(i), style.dash(i)) for i in range(14)}
    assert len(marks) == 14
    assert len({style.symbol(i) for i in range(7)}) == 7


def test_every_figure_has_the_style() -> None:
    made = style.figure(barmode="stack")
    assert made.layout.barmode == "stack"
    assert made.layout.template.layout.colorway == style.PALETTE
    assert style.faint("#0072B2", 0.5) == "rgba(0,114,178,0.5)"


@pytest.mark.parametrize(("last", "step"), [(1, 1), (9, 1), (10, 1), (11, 2), (300, 30)])
def test_epochs_are_whole_numbers(last: int, step: int) -> None:
    assert style.epoch_axis("epoch", last)["dtick"] == step


@pytest.mark.parametrize(
    ("longest", "unit"), [(0, "seconds"), (119, "seconds"), (120, "minutes"), (7199, "minutes"), (7200, "hours")]
)
def test_time_is_in_a_unit_of_its_length(longest: float, unit: str) -> None:
    assert style.time_unit(longest)[0] == unit


def test_what_an_objective_is_called() -> None:
    assert (style.label("macs"), style.label("energy_use")) == ("multiply-adds", "energy use")
