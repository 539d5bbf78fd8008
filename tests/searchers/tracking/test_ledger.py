from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from searchers.tracking.ledger import FINISH, LOG, START, Ledger, Reader, read


def ledger(path: Path) -> Ledger:
    """One trial that has ended and one that is open."""
    made = Ledger(path)
    for number in range(2):
        made.append(START, number, {"config": {"stage1.window": 0.5 * number}})
        made.append(LOG, number, {"metrics": {"epoch": 1, "validation_error": 0.5}})
    made.append(LOG, 0, {"metrics": {"epoch": 2, "validation_error": 0.25}})
    made.append(FINISH, 0, {"summary": {"outcome": "completed", "error": 0.25}})
    return made


def test_what_was_told_is_read_back(tmp_path: Path) -> None:
    ledger(tmp_path / "trials.jsonl")
    told = read(tmp_path / "trials.jsonl")
    assert sorted(told) == [0, 1]
    assert [trial.config for trial in told.values()] == [{"stage1.window": 0.0}, {"stage1.window": 0.5}]
    assert {epoch: row["validation_error"] for epoch, row in told[0].rows.items()} == {1: 0.5, 2: 0.25}
    assert told[0].rows[2]["_timestamp"] >= told[0].rows[1]["_timestamp"] > 1.7e9
    assert (told[0].summary, told[1].summary) == ({"outcome": "completed", "error": 0.25}, None)


def test_nothing_was_told(tmp_path: Path) -> None:
    assert read(tmp_path / "trials.jsonl") == {}


def test_an_epoch_that_is_told_of_twice_stays_as_it_was(tmp_path: Path) -> None:
    made = ledger(tmp_path / "trials.jsonl")
    made.append(LOG, 1, {"metrics": {"epoch": 1, "validation_error": 0.75}})
    assert read(tmp_path / "trials.jsonl")[1].rows[1]["validation_error"] == 0.5


def test_a_reader_follows_and_leaves_a_line_that_is_not_whole_for_later(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    made = ledger(path)
    reader = Reader(path)
    assert len(reader.read()) == 6
    assert reader.read() == []
    with path.open("ab") as file:
        file.write(b'{"event": "log", "tri')
    assert reader.read() == []
    with path.open("ab") as file:
        file.write(b'al": 1, "at": 1.0}\n')
    made.append(FINISH, 1, {"summary": {}})
    assert [event["event"] for event in reader.read()] == ["log", "finish"]


def test_a_killed_process_costs_the_line_that_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    ledger(path)
    path.write_bytes(path.read_bytes()[:-5])
    Ledger(path).append(LOG, 1, {"metrics": {"epoch": 2, "validation_error": 0.4}})
    told = read(path)
    assert told[0].summary is None
    assert sorted(told[1].rows) == [1, 2]


@pytest.mark.parametrize("line", ["", "[1]", "null", '{"event": "log"}', "\x00\x00"])
def test_a_damaged_line_is_left_out(tmp_path: Path, line: str) -> None:
    path = tmp_path / "trials.jsonl"
    ledger(path)
    path.write_text(line + "\n" + path.read_text())
    assert sorted(read(path)) == [0, 1]


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can grow beyond that many bytes, as on a disk that is full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_was_full_costs_the_lines_of_that_time(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    made = ledger(path)
    with room_for(path.stat().st_size + 10):
        with pytest.raises(OSError, match=r"took 10 of \d+ bytes"):
            made.append(LOG, 1, {"metrics": {"epoch": 2}})
        with pytest.raises(OSError, match="File too large"):
            made.append(LOG, 1, {"metrics": {"epoch": 3}})
    made.append(LOG, 1, {"metrics": {"epoch": 4}})
    assert sorted(read(path)[1].rows) == [1, 4]


def test_values_without_a_json_form_are_written_as_text(tmp_path: Path) -> None:
    content: dict[str, Any] = {"config": {"path": Path("a/b"), "loss": float("nan")}}
    Ledger(tmp_path / "trials.jsonl").append(START, 0, content)
    config = read(tmp_path / "trials.jsonl")[0].config
    assert config["path"] == "a/b"
    assert config["loss"] != config["loss"]
