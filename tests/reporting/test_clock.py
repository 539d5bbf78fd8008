"""A clock that is set back while a search runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reporting.reading import read_runs
from reporting.report import make_report
from reporting.request import ReportRequest
from searchers import journal
from searchers.study import JOURNAL
from tests.searchers.doctor import runs


def test_no_time_in_a_report_is_negative(tmp_path: Path) -> None:
    """From its second half on the search writes times of a year before."""
    run = runs.ended(tmp_path / "run")
    entries = [journal.parse(line) for line in (run / JOURNAL).read_bytes().splitlines()]
    for entry in entries[len(entries) // 2 :]:
        for name in ("datetime_start", "datetime_complete"):
            if entry.get(name):
                entry[name] = f"2025{entry[name][4:]}"
    (run / JOURNAL).write_bytes(b"".join(map(journal.seal, entries)))
    make_report(ReportRequest(run=str(run)))
    (read,), _ = read_runs([run])
    assert read.problems == []
    history = pd.read_csv(run / "report" / "history.csv")
    assert history["seconds"].min() >= 0
