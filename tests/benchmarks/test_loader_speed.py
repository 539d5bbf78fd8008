"""The command at a tiny size, whose speeds mean nothing."""

from __future__ import annotations

import re
from pathlib import Path

import loader_speed
import pytest

from tests.training.full.pictures import lay_out

QUICK = ["--resolution", "16", "--batch", "4", "--seconds", "0.01", "--rounds", "1"]


def test_a_row_for_each_augmentation_and_number_of_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader_speed.main([str(lay_out(tmp_path)), "--workers", "0,1", "--augment", "trivial,none", *QUICK])
    printed = capsys.readouterr().out
    assert f"images: 12 training images of {tmp_path / 'train'}, 6 to test" in printed
    rows = [row.split() for row in printed.splitlines() if re.match(r"(trivial|none) ", row)]
    assert [row[:2] for row in rows] == [["trivial", "0"], ["trivial", "1"], ["none", "0"], ["none", "1"]]
    for row in rows[:2]:
        speed, reference, ratio = map(float, row[2:])
        assert ratio == pytest.approx(speed / reference, abs=0.02 + ratio / min(speed, reference))
    assert [len(row) for row in rows[2:]] == [3, 3]


def test_what_cannot_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"error: .*nowhere: no such folder"):
        loader_speed.main([str(tmp_path / "nowhere"), *QUICK])
    with pytest.raises(SystemExit):
        loader_speed.main([str(tmp_path), "--augment", "trivia"])
    assert "augment must be one of" in capsys.readouterr().err
