from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from searchers import journal
from searchers.study import JOURNAL
from tests.searchers.fakes import begin, finish, store

EPOCH = {"op_code": 7, "worker_id": "a", "trial_id": 3, "step": 1, "intermediate_value": 0.25}
BEGIN = {
    "op_code": 4, "worker_id": "a", "study_id": 0, "datetime_start": None, "state": 0, "value": None, "values": None,
    "distributions": {}, "params": {}, "user_attrs": {}, "system_attrs": {}, "intermediate_values": {},
}  # fmt: skip


def line(**changes: Any) -> bytes:
    return json.dumps({**EPOCH, **changes}).encode()


def test_a_sealed_line_says_what_it_said() -> None:
    assert journal.seal(EPOCH).endswith(b"}\n")
    assert journal.parse(journal.seal(EPOCH)) == EPOCH


def test_every_line_of_a_search_is_sealed_and_of_a_known_kind(tmp_path: Path) -> None:
    opened = store(tmp_path)
    finish(opened, begin(opened, fingerprint="ü"), 0.5, 0.25)
    content = (tmp_path / JOURNAL).read_bytes()
    lines = content.splitlines(keepends=True)
    assert len(lines) == 8
    assert [journal.seal(journal.parse(line)) for line in lines] == lines
    assert journal.first_problem(content) == ""


def test_one_bit_that_is_flipped_shows_wherever_it_is() -> None:
    sealed = journal.seal(EPOCH)[:-1]
    unnoticed = []
    for position in range(len(sealed)):
        for bit in range(8):
            damaged = bytearray(sealed)
            damaged[position] ^= 1 << bit
            try:
                unnoticed.append(journal.parse(bytes(damaged)))
            except ValueError:
                continue
    # What names the checksum itself may be hit: then the line counts as one of the releases that had none.
    assert {json.dumps({k: v for k, v in found.items() if k in EPOCH}) for found in unnoticed} <= {json.dumps(EPOCH)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\0\0\0 \r", "it is empty"),
        (b"{", "it is no JSON"),
        (b"\xff{}", "it is no JSON"),
        (b"[" * 100_000, "it nests too deep"),
        (b"[]", "it is no JSON object"),
        (b"{}", "op_code None is none that a search writes"),
        (line(op_code=True), "op_code True is none that a search writes"),
        (line(op_code=1), "op_code 1 is none that a search writes"),
        (line(op_code=[]), "op_code [] is none that a search writes"),
        (line(worker_id=1), "worker_id is 1"),
        (line(trial_id=-1), "trial_id is -1"),
        (line(step=True), "step is True"),
        (line(intermediate_value="x"), "intermediate_value is 'x'"),
        (json.dumps({"op_code": 8, "worker_id": "a", "trial_id": 0}).encode(), "user_attr is missing"),
        (line(op_code=6, state=1, values=[0.5]), "an end without its time"),
        (line(op_code=6, state=4, values=None), "state is 4"),
        (line(op_code=6, state=1, values=["x"], datetime_complete="2026-01-01"), "values is ['x']"),
        (json.dumps({**BEGIN, "datetime_start": "soon"}).encode(), "datetime_start is 'soon'"),
        (json.dumps({**BEGIN, "intermediate_values": {"a": 1}}).encode(), "intermediate_values is {'a': 1}"),
        (journal.seal(EPOCH).replace(b"0.25", b"0.26"), "its checksum is not that of its content"),
    ],
)
def test_a_damaged_line_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError) as error:
        journal.parse(content)
    assert str(error.value) == reason
    assert journal.first_problem(journal.seal(EPOCH) + content + b"\n") == f"line 2: {reason}"


def test_a_line_without_a_checksum_is_one_of_an_earlier_release() -> None:
    assert journal.parse(line()) == EPOCH
    journal.check_seals(line() + b"\n")


def test_a_line_that_is_still_being_written_is_left_out() -> None:
    half = journal.seal(EPOCH)[:-9]
    journal.check_seals(journal.seal(EPOCH) + half)
    with pytest.raises(ValueError, match=r"^line 1: its checksum is not that of its content$"):
        journal.check_seals(journal.seal(EPOCH).replace(b"0.25", b"0.26") + half)
