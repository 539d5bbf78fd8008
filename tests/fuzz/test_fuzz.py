"""A few of the inputs that `python -m tests.fuzz.run` tries by the hundred thousand, and all that it ever found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.fuzz import campaign
from tests.fuzz import run as command
from tests.fuzz.campaign import Target, run
from tests.fuzz.targets import TARGETS

INPUTS = {
    "command line": 6, "export folder": 40, "promotion folder": 40, "report": 1, "run folder": 15, "search space": 60,
}  # fmt: skip
_SPACE = b"name: a\npyramid: [1]\n"
FOUND: list[tuple[str, Any]] = [
    # A knob of 10^99 values: its steps cannot be counted in decimal arithmetic.
    ("search space", _SPACE + b"stage1: {blocks: {type: integer, low: 1, high: 1%s}, groups: 4}" % (b"0" * 99)),
    # The divisors of a width of 10^19 channels, one after the other.
    ("search space", _SPACE + b"widening: 1000000000000000000\nstage1: {blocks: 1, groups: 7}"),
    # A number that no float holds.
    ("search space", _SPACE + b"stage1: {blocks: {type: categorical, choices: [1, 1%s]}, groups: 4}" % (b"0" * 400)),
    ("search space", _SPACE + b"stage1: {blocks: {type: integer, low: 1, high: 1%s}, groups: 4}" % (b"0" * 400)),
    (
        "search space",
        _SPACE + b"stage1: {blocks: 1, groups: 4, window: {type: float, low: 1, high: 1%s}}" % (b"0" * 400),
    ),
    ("command line", ("search", ["budget.params=[1,1" + "0" * 400 + "]"], b"")),
    # YAML that holds itself, and values that are not what they look like.
    ("architecture", b"a: !!timestamp x"),
    ("architecture", b"&a [*a]"),
    ("architecture", b"!!str &a {=: *a}"),
    # A configuration file that cannot be read.
    ("search space", b"12"),
    ("command line", ("search", ["--config-dir=mine", "search_space=mine"], b"stage1: [")),
    ("command line", ("search", ["--config-dir=mine", "search_space=mine"], b"name: ${x")),
]


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    (found,) = (target for target in TARGETS if target.name == request.param)
    return found


@pytest.mark.parametrize("target", [target.name for target in TARGETS], indirect=True)
def test_some_inputs(target: Target) -> None:
    tally = run(target, INPUTS.get(target.name, 120), start=1)
    assert tally.crashes == {}
    assert tally.inputs == tally.accepted + tally.refused > 0


@pytest.mark.parametrize(("target", "given"), FOUND, indirect=["target"])
def test_what_was_found(target: Target, given: Any, tmp_path: Path) -> None:
    assert target.prepare(tmp_path)(given) is False


def test_the_shares_make_up_the_whole() -> None:
    assert sum(target.share for target in TARGETS) == pytest.approx(1)


def broken(take: Callable[[int], bool]) -> Target:
    return Target(name="broken", inputs=st.integers(0, 5), prepare=lambda _: take, share=0)


def test_a_crash_is_counted_with_its_inputs() -> None:
    def take(given: int) -> bool:
        return bool(10 // given)

    tally = run(broken(take), 6, start=0)
    ((where, (trace, *inputs)),) = tally.crashes.items()
    assert where.startswith("ZeroDivisionError at test_fuzz.py:") and "10 // given" in trace
    assert inputs == [0] and tally.crashed == 1


def test_a_hang_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "PATIENCE", 0.1)

    def take(given: int) -> bool:
        end = time.process_time() + 5 * (given == 0)
        while time.process_time() < end:
            pass
        return True

    tally = run(broken(take), 6, start=0)
    assert [where.partition(" ")[0] for where in tally.crashes] == ["Hang"]
    assert tally.accepted == 5


def test_the_command_keeps_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--inputs", "100", "--seed", "3", "--target", "pickle", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("target pickle, inputs 28, accepted ")
    head, row = (tmp_path / "pickle.csv").read_text().splitlines()
    assert head == "target,inputs,accepted,refused,crashes,slowest_s,seconds,seed"
    assert row.startswith("pickle,28,") and row.endswith(",3")


def test_the_command_tells_of_a_crash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def take(given: int) -> bool:
        raise KeyError(given)

    monkeypatch.setattr(command, "TARGETS", [replace(broken(take), share=1.0)])
    assert command.main(["--inputs", "2"]) == 1
    assert "KeyError at test_fuzz.py:" in capsys.readouterr().err
