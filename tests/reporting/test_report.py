from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import reporting
from reporting.reading import read_runs
from reporting.report import conclude, make_report
from reporting.request import ReportRequest
from reporting.sections import curves
from tests.reporting.conftest import TRIALS
from tests.reporting.simulated import leave_open, simulate

ROOT = Path(__file__).parents[2]
SECTIONS = [
    "best", "history", "pareto", "windows", "knobs", "importance", "curves", "rungs", "predictor", "weights",
    "outcomes", "failures", "cost",
]  # fmt: skip
EMPTY = "Nothing to show"


def headings(html: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', html)


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a report in it."""
    run = Path(shutil.copytree(folder, tmp_path_factory.mktemp("written") / "first"))
    lines = make_report(ReportRequest(run=str(run), top=3))
    assert lines == [f"report: {run / 'report.html'}", f"its data: {run / 'report'}"]
    return run


def test_a_report_stands_beside_the_results_of_its_run(written: Path) -> None:
    html = (written / "report.html").read_text(encoding="utf-8")
    assert headings(html) == SECTIONS
    assert EMPTY not in html
    assert len(html) < 5_000_000
    links = re.findall(r'href="(report/[^"]+)"', html)
    assert {Path(link).name for link in links} == {path.name for path in (written / "report").iterdir()}


def test_the_data_behind_it_is_there_twice(written: Path) -> None:
    for name in (*SECTIONS, "trials"):
        file = written / "report" / name
        csv, parquet = pd.read_csv(f"{file}.csv"), pd.read_parquet(f"{file}.parquet")
        assert list(csv.columns) == list(parquet.columns)
        assert len(csv) == len(parquet) > 0
        assert name == "windows" or (csv["run"] == "first").all()
    assert len(pd.read_csv(written / "report" / "trials.csv")) == TRIALS
    assert len(pd.read_csv(written / "report" / "best.csv")) == 3


def test_the_run_stays_as_it_is(written: Path, folder: Path) -> None:
    assert read_runs([written])[0][0].problems == []
    files = {path.relative_to(written) for path in written.rglob("*")}
    own = {path for path in files if path.parts[0] not in ("report", "report.html")}
    assert own == {path.relative_to(folder) for path in folder.rglob("*")}


def test_several_runs_side_by_side(folder: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "two.html"
    assert reporting.write_report([folder, other], out) == out
    html = out.read_text(encoding="utf-8")
    assert "<h1>Search report: first and second</h1>" in html
    assert headings(html) == SECTIONS
    assert set(pd.read_csv(tmp_path / "two" / "trials.csv")["run"]) == {"first", "second"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two", "two.html"]


def test_a_search_of_several_objectives_has_its_hypervolume_too(copy: Path) -> None:
    about = yaml.safe_load((copy / "run.yaml").read_text())
    (copy / "run.yaml").write_text(yaml.safe_dump({**about, "objective": ["error", "params"]}))
    make_report(ReportRequest(run=str(copy)))
    assert headings((copy / "report.html").read_text(encoding="utf-8")) == [*SECTIONS[:3], "hypervolume", *SECTIONS[3:]]
    data = pd.read_csv(copy / "report" / "hypervolume.csv")
    assert len(data) > 3 and data["hypervolume_by_trial"].is_monotonic_increasing
    assert 0 < data["hypervolume_by_trial"].iloc[-1] < 1


def test_a_report_of_several_has_a_place_of_its_own(
    folder: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reporting.write_report([folder, other]) == Path("reports/first-and-second.html")
    assert (tmp_path / "reports" / "first-and-second.html").is_file()


def test_what_is_still_running_is_reported_so_far(copy: Path) -> None:
    leave_open(copy)
    make_report(ReportRequest(run=str(copy)))
    html = (copy / "report.html").read_text(encoding="utf-8")
    assert f"first stopped before its end. Go on: python search.py ... run={copy} resume=true" in html
    assert "1 in training" in html


def test_a_search_without_a_finished_trial(tmp_path: Path) -> None:
    path = simulate(tmp_path / "empty", trials=0)
    for trials in (0, 1):
        lines = make_report(ReportRequest(run=str(path)))
        assert not [line for line in lines if line.startswith("note")]
        html = (path / "report.html").read_text(encoding="utf-8")
        assert headings(html) == SECTIONS
        assert "no trial has a result yet" in html or trials
        leave_open(path)


def test_what_cannot_be_read_is_named_on_the_page_and_on_the_terminal(copy: Path, tmp_path: Path) -> None:
    for number in range(8):
        (copy / "trials" / f"{number:04d}" / "metrics.csv").write_text("epoch\nx\n")
    lines = make_report(ReportRequest(run=[str(copy), str(tmp_path)], out=str(tmp_path / "r.html")))
    named = f"{tmp_path}: no study.journal there; run= takes the folder of a search, such as runs/NAME"
    assert lines[0] == f"note: {named}"
    assert lines[1].startswith("note: first: trials/0000/metrics.csv: could not convert string to float: 'x'")
    assert lines[6] == "note: first: 3 more could not be read, the page lists them"
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"Left out: {named}" in html
    assert "first: 8 files or trials could not be read, see the end." in html
    assert "first: trials/0007/metrics.csv: could not convert" in html


def test_a_section_that_goes_wrong_leaves_the_others(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("<no way>")

    monkeypatch.setattr(curves, "section", broken)
    assert make_report(ReportRequest(run=str(copy)))[0] == "note: curves: it could not be made: RuntimeError: <no way>"
    html = (copy / "report.html").read_text(encoding="utf-8")
    assert headings(html) == SECTIONS
    assert "Nothing to show: it could not be made: RuntimeError: &lt;no way&gt;." in html


def test_the_end_of_a_search_writes_one_and_never_fails(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert conclude(copy) == [f"report: {copy / 'report.html'}"]
    missing = copy / "missing"
    assert conclude(missing) == [
        f"note: no report was written: run={missing}: no such folder; run= takes the folder of a search, such as "
        f"runs/NAME; again: python report.py run={missing}"
    ]
    assert conclude(copy, wanted=False) == []

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("reporting.report._sections", full)
    assert conclude(copy)[0].startswith("note: no report was written: MemoryError; again: python report.py run=")


def test_a_place_that_cannot_be_written(folder: Path) -> None:
    with pytest.raises(OSError, match=r"^out=/proc/seqconv: cannot write to /proc: "):
        make_report(ReportRequest(run=str(folder), out="/proc/seqconv/report.html"))


def test_a_failure_leaves_the_page_that_was_there(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "report.html").write_text("before")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        make_report(ReportRequest(run=str(copy)))
    assert (copy / "report.html").read_text() == "before"


def test_runs_of_other_conditions_are_told_apart(folder: Path, tmp_path: Path) -> None:
    longer = simulate(tmp_path / "longer", trials=12, epochs=12)
    reporting.write_report([folder, longer], tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Their errors may not be comparable: trial.epochs is 9 in first and 12 in longer." in html


def command(*arguments: object) -> tuple[int, str, str]:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(
        [sys.executable, "report.py", *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment,
    )  # fmt: skip
    return ran.returncode, ran.stdout, ran.stderr


def test_the_command(other: Path, tmp_path: Path) -> None:
    few, out = simulate(tmp_path / "few", trials=5), tmp_path / "r.html"
    assert command(f"run={other}", f"run={few}", f"out={out}", "top=2") == (
        0, f"report: {out}\nits data: {tmp_path / 'r'}\n", ""
    )  # fmt: skip
    assert list(pd.read_csv(tmp_path / "r" / "best.csv")["run"].value_counts()) == [2, 2]


def test_the_command_refuses_what_is_no_run(tmp_path: Path) -> None:
    code, stdout, stderr = command(f"run={tmp_path}")
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"error: {tmp_path}: no study.journal there; run= takes the folder of a search")
    assert stderr.count("\n") == 1
