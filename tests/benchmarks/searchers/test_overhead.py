"""The cost of a proposal at a tiny size, whose times mean nothing."""

import csv
from pathlib import Path

import overhead
import pytest
from overhead import EPOCHS, made_up, main, measure, windowed

from searchers.record import COMPLETED, PRUNED


def test_a_history_is_made_up_of_different_architectures() -> None:
    records = made_up(windowed(), 20)
    assert [record.number for record in records] == list(range(20))
    assert len({record.fingerprint for record in records}) == 20
    assert [record.outcome for record in records[:4]] == [COMPLETED, PRUNED, PRUNED, COMPLETED]
    assert (records[0].epochs, records[1].epochs) == (EPOCHS, 1)
    assert {"error", "macs", "params", "latency"} <= records[0].measures().keys()


def test_times_and_memory_at_each_size() -> None:
    small, large = measure("random", ["error"], [5, 40], 3)
    assert (small.trials, small.proposals, large.trials, large.proposals) == (5, 3, 40, 3)
    assert 0 < small.median_ms <= small.highest_ms
    assert small.first_ms > 0
    assert small.processor_ms > 0
    assert large.kept_mib >= small.kept_mib - 1


def test_who_is_too_slow_is_not_tried_at_larger_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "PATIENCE", 1e-9)
    assert [(row.trials, row.proposals) for row in measure("random", ["error"], [5, 40], 3)] == [(5, 1)]


def test_the_command_prints_and_writes_a_row_for_each_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "overhead.csv"
    main(["--contenders", "random", "--sizes", "5,10", "--proposals", "2", "--out", str(file)])
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["contender"], row["trials"], row["proposals"]) for row in rows] == [
        ("random", size, "2") for size in ("5", "10")
    ]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:-1]] == [["random", "5"], ["random", "10"]]


def test_an_unknown_contender_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: searcher must be one of "):
        main(["--contenders", "optuna", "--sizes", "5", "--out", str(tmp_path / "overhead.csv")])


def test_sizes_are_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--contenders", "random", "--sizes", "many"])
    assert "must be numbers above 0 such as 100,1000, got 'many'" in capsys.readouterr().err
