from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchers.watchdog import NOTE, TrialLimits, verdict, watched
from tests.search_process import ROOT

PROGRAM = """
import sys, time
from pathlib import Path
from searchers.watchdog import TrialLimits, watched
held = []
def steps():
    yield 1
    {body}
    yield 2
for step in watched(steps(), Path(sys.argv[1]), TrialLimits({limits})):
    print(step, flush=True)
print("done")
"""


def process(folder: Path, body: str, limits: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(body=body, limits=limits)
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_trial_that_hangs_is_ended(tmp_path: Path) -> None:
    done = process(tmp_path, "time.sleep(60)", "timeout=0.5")
    assert (done.returncode, done.stdout) == (1, "1\n")
    reason = verdict(tmp_path)
    assert reason == f"no epoch within 0.5 s (trial_limits.timeout); what it was doing stands in {tmp_path.name}/{NOTE}"
    assert "in steps" in (tmp_path / NOTE).read_text()


def test_a_trial_that_takes_too_much_memory_is_ended(tmp_path: Path) -> None:
    done = process(tmp_path, "held.append(b'x' * 10**9); time.sleep(60)", "memory=1")
    assert (done.returncode, done.stdout) == (1, "1\n")
    reason = verdict(tmp_path) or ""
    assert reason.startswith("memory: its process took ") and reason.endswith(" 1 GB (trial_limits.memory)")


@pytest.mark.parametrize("limits", ["timeout=30, memory=100", "timeout=30", "memory=100", ""])
def test_a_trial_within_its_limits_ends_as_ever(tmp_path: Path, limits: str) -> None:
    done = process(tmp_path, "time.sleep(0.3)", limits)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n2\ndone\n", "")
    assert list(tmp_path.iterdir()) == []
    assert verdict(tmp_path) is None


def test_the_time_between_the_steps_does_not_count(tmp_path: Path) -> None:
    for _ in watched(iter(range(2)), tmp_path, TrialLimits(timeout=0.2)):
        time.sleep(0.4)


def test_a_trial_that_fails_or_is_stopped_leaves_no_note(tmp_path: Path) -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        list(watched(fails(), tmp_path, TrialLimits(timeout=30)))
    assert list(tmp_path.iterdir()) == []
    stopped = watched(fails(), tmp_path, TrialLimits(timeout=30, memory=100))
    assert next(stopped) == 1
    stopped.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["timeout", "memory"])
@pytest.mark.parametrize("value", [0, -1, "long", float("nan")])
def test_limits_are_above_zero(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^trial_limits\.{name} must be a number above 0, got "):
        TrialLimits(**{name: value})


@pytest.mark.parametrize(
    ("begins", "seconds"),
    [("Timeout (2:00:00)!", "7200"), ("Timeout (0:01:30)!", "90"), ("Timeout (0:00:00.500000)!", "0.5")],
)
def test_what_was_ended_is_told_whatever_the_limits_are_by_then(tmp_path: Path, begins: str, seconds: str) -> None:
    """As in a search that goes on with others."""
    (tmp_path / NOTE).write_text(f"{begins}\nThread 0x1 (most recent call first):\n")
    reason = verdict(tmp_path) or ""
    assert reason.startswith(f"no epoch within {seconds} s (trial_limits.timeout); ")
