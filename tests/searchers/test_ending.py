from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from searchers.ending import next_commands, print_best
from searchers.record import COMPLETED, FAILED, PRUNED, TrialRecord
from seqconv import Architecture, Stage
from tests.searchers.trials import ARCHITECTURE, trial

FOUND = [
    trial(0, COMPLETED, 0.5, 0.25, macs=2000),
    trial(1, PRUNED, 0.1),
    trial(2, FAILED),
    trial(3, COMPLETED, 0.5, 0.125, macs=3000),
    trial(4, COMPLETED, 0.5, 0.3, macs=4000),
]


def printed(records: list[TrialRecord], *objectives: str, width: int | None = None, rows: int = 5) -> list[str]:
    """Lines in a file, or on a terminal of that width."""
    file = io.StringIO()
    terminal = {} if width is None else {"force_terminal": True, "color_system": None, "width": width}
    print_best(Console(file=file, highlight=False, **terminal), records, ("error", *objectives), rows)  # type: ignore[arg-type]
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_best_come_first() -> None:
    head, *rows = printed(FOUND, rows=3)
    assert head.split()[:6] == ["trial", "error", "epochs", "params", "MACs", "depth"]
    assert [row.split()[:6] for row in rows] == [
        ["3", "0.1250", "2", "1,234,567", "3,000", "41"],
        ["0", "0.2500", "2", "1,234,567", "2,000", "41"],
        ["4", "0.3000", "2", "1,234,567", "4,000", "41"],
    ]
    assert rows[0].endswith(ARCHITECTURE.describe())


@pytest.mark.parametrize("records", [[], [trial(0, FAILED)]])
def test_without_a_result_there_is_no_table(records: list[TrialRecord]) -> None:
    assert printed(records) == []


def test_of_several_objectives_it_is_the_pareto_front() -> None:
    title, _, *rows = printed(FOUND, "macs")
    assert title == "Pareto front of error, macs: 2 trials, lowest error first"
    assert [row.split()[0] for row in rows] == ["3", "0"]
    title, _, *rows = printed(FOUND, "macs", rows=1)
    assert title == "Pareto front of error, macs: 2 trials, 1 of them here, lowest error first"
    assert [row.split()[0] for row in rows] == ["3"]


def test_other_objectives_have_a_column_of_their_own() -> None:
    records = [trial(0, COMPLETED, 0.5, latency=1.23456, activation_bytes=8000)]
    _, head, row = printed(records, "latency", "activation_bytes")
    assert head.split()[:8] == ["trial", "error", "epochs", "latency", "activation_bytes", "params", "MACs", "depth"]
    assert row.split()[3:5] == ["1.23", "8,000"]


def test_without_a_completed_trial_there_is_no_front_but_a_best() -> None:
    head, row = printed([trial(7, PRUNED, 0.5)], "latency")
    assert head.split()[:4] == ["trial", "error", "epochs", "latency"]
    assert row.split()[:4] == ["7", "0.5000", "1", "-"]


def test_a_file_folds_nothing() -> None:
    wide = replace(ARCHITECTURE, stages=(Stage(blocks=2, group_width=8),) * 8, pyramid=tuple(range(1, 9)))
    *_, row = printed([trial(0, COMPLETED, 0.5, architecture=wide.to_dict())])
    assert row.endswith(wide.describe()) and len(row) > 200


@pytest.mark.parametrize("width", [80, 99])
def test_on_a_narrow_terminal_the_architectures_stand_below_the_numbers(width: int) -> None:
    head, first, second, below, *rows = printed(FOUND, width=width, rows=2)
    assert head.split() == ["trial", "error", "epochs", "params", "MACs", "depth"]
    assert [first.split()[0], second.split()[0]] == ["3", "0"]
    assert below.startswith("trial  best architectures")
    assert [row.split(maxsplit=1) for row in rows] == [[number, ARCHITECTURE.describe()] for number in ("3", "0")]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    stages = (Stage(blocks=2, group_width=8),) * 6
    long = Architecture(stages=stages, pyramid=(1, 2, 3, 4, 5, 6))
    lines = printed([trial(0, COMPLETED, 0.5, architecture=long.to_dict())], width=width)
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()).count("w=1.0G") == 6


def test_the_next_commands_are_three() -> None:
    assert next_commands(Path("runs/a"), FOUND, ("error",)) == [
        "next: python report.py run=runs/a",
        "next: python promote.py run=runs/a top=3",
        "next: python export.py run=runs/a trial=best out=exported",
    ]


def test_of_several_objectives_the_front_is_what_to_go_on_with() -> None:
    timed = [trial(0, COMPLETED, 0.5, latency=1.5)]
    assert next_commands(Path("runs/a"), timed, ("latency", "macs", "error", "params"))[1:] == [
        "next: python promote.py run=runs/a 'pareto=[macs,params]'",
        "next: python export.py run=runs/a trial=pareto cost=macs out=exported",
    ]


def test_without_a_front_the_best_are_what_to_go_on_with() -> None:
    found = [trial(0, COMPLETED, 0.5, violations={"error": 0.25}), trial(1, PRUNED, 0.5)]
    assert next_commands(Path("runs/a"), found, ("error", "macs")) == next_commands(Path("runs/a"), found, ("error",))


def test_what_is_beyond_the_limits_is_said_to_be() -> None:
    over = [trial(8, COMPLETED, 0.5, 0.1, violations={"error": 0.25}), trial(9, PRUNED, 0.1, violations={"error": 1.0})]
    *_, last, line = printed([*over, *FOUND], rows=5)
    assert (last.split()[0], line) == ("8", "beyond the limits, ranked last: trial 8")
    assert printed([*over, *FOUND], rows=4)[-1].split()[0] == "1"
    assert printed(over)[-1] == "beyond the limits, none of all trials is within them: trial 8, trial 9"
    assert printed([*over, *FOUND], "macs")[0] == "Pareto front of error, macs: 2 trials, lowest error first"


def test_what_promotion_cannot_rank_by_is_left_out() -> None:
    timed = [trial(0, COMPLETED, 0.5, latency=1.5)]
    alone = next_commands(Path("runs/a"), timed, ("error",))
    assert next_commands(Path("runs/a"), timed, ("error", "latency")) == alone


def test_a_path_is_quoted_for_the_shell() -> None:
    assert next_commands(Path("runs/a b"), [], ("error",))[0] == "next: python report.py 'run=runs/a b'"


def test_the_recipe_of_the_best_is_said_where_it_was_searched() -> None:
    records = [trial(0, COMPLETED, 0.5, 0.25, recipe={"learning_rate": 0.1}), trial(1, PRUNED, 0.3, recipe={})]
    assert printed(records)[-1] == "recipe of trial 0: epochs 1 to 2: learning_rate 0.1"
