"""A long search at a tiny size, whose times mean nothing."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import scale
from scale import main, run

from tests.searchers.fakes import measure


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs without torch, and no interpreter of its own."""
    monkeypatch.setattr(scale, "measure", lambda architecture, **_: measure(architecture))
    monkeypatch.setattr(scale, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))


def test_a_row_at_each_size_and_a_scheduler_that_stops_trials() -> None:
    small, large = run("random+asha", [6, 24], workers=4)
    assert (small.trials, large.trials, large.workers) == (6, 24, 4)
    assert small.stopped <= large.stopped
    assert 12 < large.stopped < 24
    assert large.journal_mib > small.journal_mib > 0
    assert 0 < large.propose_ms <= large.highest_ms
    assert min(large.record_ms, large.processor_ms, large.peak_mib) > 0


def test_without_a_scheduler_nothing_is_stopped() -> None:
    (row,) = run("random", [8], workers=2)
    assert (row.trials, row.stopped) == (8, 0)


def test_the_command_prints_and_writes_a_row_for_each_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scale.csv"
    main(["--contenders", "random", "--sizes", "4,2", "--workers", "2", "--out", str(file)])
    with file.open(newline="", encoding="utf-8") as lines:
        assert [(row["contender"], row["trials"]) for row in csv.DictReader(lines)] == [
            ("random", "2"),
            ("random", "4"),
        ]
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:-1]] == [
        ["random", "2"],
        ["random", "4"],
    ]


@pytest.mark.parametrize("contender", ["optuna", "random+halving"])
def test_an_unknown_contender_is_refused_before_anything_runs(tmp_path: Path, contender: str) -> None:
    with pytest.raises(SystemExit, match=r"^error: (searcher|scheduler) must be one of "):
        main(["--contenders", contender, "--sizes", "5", "--out", str(tmp_path / "scale.csv")])


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_there_is_a_worker(workers: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=rf"^error: workers must be an integer at least 1, got {workers}$"):
        main(["--contenders", "random", "--workers", workers, "--out", str(tmp_path / "scale.csv")])
