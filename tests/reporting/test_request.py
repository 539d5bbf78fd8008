from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reporting.request import ReportRequest, one_list


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run=a"], ["run=a"]),
        (["format=png"], ["format=png"]),
        (["run=[a,b]"], ["run=[a,b]"]),
        (["run=a", "top=3", "run=b"], ["top=3", "run=[a,b]"]),
        (["run=a", "run=[b,c]", "run='d e'"], ["run=[a,b,c,'d e']"]),
        (["run=[]", "run=a"], ["run=[a]"]),
    ],
)
def test_a_run_may_be_named_after_the_other(arguments: list[str], expected: list[str]) -> None:
    assert one_list(arguments) == expected


def test_the_folders_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert ReportRequest(run="runs/a").folders == (Path("runs/a"),)
    assert ReportRequest(run=["~/a", "b", "/home/me/a"]).folders == (Path("/home/me/a"), Path("b"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("run", [], "run must be the folder of a search, or several as run=A run=B, got []"),
        ("run", 3, "run must be the folder of a search, or several as run=A run=B, got 3"),
        ("run", ["a", 3], "run must be the path of a folder, such as runs/NAME or ./2024, got 3"),
        ("format", "pdf", "format must be one of html, png, svg, got 'pdf'"),
        ("out", "report", "out must be the page to write, such as comparison.html, got 'report'"),
        ("out", 3, "out must be the page to write, such as comparison.html, got 3"),
        ("top", 0, "top must be an integer at least 1, got 0"),
    ],
)
def test_what_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        ReportRequest(**{"run": "a", field: value})
    assert str(error.value) == message
