from __future__ import annotations

import pytest
import shared_study

from tests.postgresql import BINARIES, MISSING, server


@pytest.mark.skipif(not BINARIES, reason=MISSING)
def test_both_stores_are_told_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with server() as running:
        monkeypatch.setenv("SEQCONV_STORE_URL", running.database("benchmark"))
        shared_study.main(["--trials", "1,3"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if " in all " in line]
    assert [(line[0], line[2]) for line in lines] == [
        ("1", "journal"), ("1", "postgresql"), ("3", "journal"), ("3", "postgresql")
    ]  # fmt: skip
    assert all(float(line[-2]) > 0 for line in lines)
