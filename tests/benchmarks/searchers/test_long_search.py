"""Long searches that are short: what is measured of them, and that their folders are those of searches."""

import csv
from pathlib import Path
from typing import Any

import long_search
import pytest
from long_search import main, search

from searchers.record import COMPLETED, PRUNED
from searchers.study import read_records


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_search, "EVERY", 4)


def test_a_row_now_and_then_and_a_folder_that_a_search_goes_on_in(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings: dict[str, Any] = {"workers": 3, "run": run, "overrides": ["search_space=windowed_small"]}
    first, second = search(8, **settings)
    assert (first.trials, second.trials, first.workers) == (4, 8, 3)
    assert 0 < first.hours < second.hours
    assert 0 < first.driver_s <= second.driver_s
    assert min(second.propose_ms, second.record_ms, second.resident_mib, second.journal_mib) > 0
    assert [row.trials for row in search(12, **settings)] == [4]
    records = read_records(run)
    outcomes = [record.outcome for record in records]
    assert outcomes.count(COMPLETED) + outcomes.count(PRUNED) == 12
    assert outcomes.count(PRUNED) > 2
    assert {path.name for path in run.iterdir()} >= {"run.yaml", "trials.csv", "best"}
    assert "trial    0" in (tmp_path / "run.txt").read_text()


def test_the_command_writes_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    settings = ["--run", str(tmp_path / "run"), "--out", str(file), "searcher=random", "search_space=windowed_small"]
    main(["--trials", "5", "--workers", "2", *settings])
    with file.open(newline="", encoding="utf-8") as lines:
        assert [row["trials"] for row in csv.DictReader(lines)] == ["4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "trials must be an integer at least 1, got 0"),
        (["--workers", "0"], "workers must be an integer at least 1, got 0"),
    ],
)
def test_what_is_no_number_of_trials(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=f"^error: {message}$"):
        main([*arguments, "--run", str(tmp_path / "run")])
