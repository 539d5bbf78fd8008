from __future__ import annotations

import io

import pytest
from rich.console import Console

from searchers.live_view import LiveView
from searchers.progress import Progress, open_progress
from searchers.progress_lines import QUIET, LineProgress, duration
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from tests.searchers.trials import Clock, tally, trial


class Terminal(io.StringIO):
    """A file that says that it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def opened(file: io.StringIO, *history: TrialRecord) -> Progress:
    console = Console(file=file, highlight=False, soft_wrap=True)
    return open_progress(console, trials=8, epochs=4, concurrency=2, history=history, objectives=("error",), gpus=False)


def is_live(file: io.StringIO) -> bool:
    progress = opened(file)
    progress.close()
    return isinstance(progress, LiveView)


def test_a_terminal_gets_the_live_view() -> None:
    assert is_live(Terminal())


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"CI": "true"}, {"TTY_INTERACTIVE": "0"}, {"TTY_COMPATIBLE": "0"}]
)
def test_a_terminal_at_which_nobody_looks_gets_lines(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not is_live(Terminal())


def test_colour_is_no_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert is_live(Terminal())


def test_a_file_gets_lines_even_where_colour_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_live(io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not is_live(io.StringIO())


def test_a_terminal_that_has_no_bars_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terminal, "encoding", "ascii")
    assert not is_live(Terminal())


def test_a_file_has_no_control_characters() -> None:
    file = io.StringIO()
    progress = opened(file, trial(0, COMPLETED, 0.5, 0.4, 0.3, 0.25))
    progress.begin(trial(1, RUNNING))
    progress.note("[bold]trial[/bold] 1 lost its worker process")
    progress.end(trial(1, PRUNED, 0.75))
    progress.close()
    assert file.getvalue().splitlines() == [
        "[bold]trial[/bold] 1 lost its worker process",
        "trial    1 pruned    error 0.7500 after 1 epochs 1,234,567 params  [2/8, 1 pruned, best 0.2500, 90 s to go]",
    ]


def test_every_trial_that_was_trained_is_said_in_one_line() -> None:
    lines: list[str] = []
    progress = LineProgress(tally(trials=4), lines.append)
    for number, record in enumerate(
        (
            trial(0, COMPLETED, 0.5, 0.4, 0.3, 0.25),
            trial(1, PRUNED, 0.75),
            trial(2, FAILED, reason="Traceback\nCrash: out of luck\n"),
        )
    ):
        progress.begin(trial(number, RUNNING))
        progress.end(record)
    assert lines == [
        "trial    0 completed error 0.2500 after 4 epochs 1,234,567 params  [1/4, 0 pruned, best 0.2500, 60 s to go]",
        "trial    1 pruned    error 0.7500 after 1 epochs 1,234,567 params  [2/4, 1 pruned, best 0.2500, 30 s to go]",
        "trial    2 failed    Crash: out of luck  [3/4, 1 pruned, best 0.2500, 22 s to go]",
    ]


def test_what_was_not_begun_is_no_line() -> None:
    lines: list[str] = []
    progress = LineProgress(tally(), lines.append)
    for outcome in (DUPLICATE, REFUSED):
        progress.end(trial(0, outcome, 0.5))
    assert lines == []


def test_a_trial_that_is_refused_once_it_was_measured_is_said_with_the_reason() -> None:
    lines: list[str] = []
    progress = LineProgress(tally(), lines.append)
    progress.begin(trial(0, RUNNING))
    progress.end(trial(0, REFUSED, reason="latency 9 ms is over 5 ms"))
    assert lines == ["trial    0 refused   latency 9 ms is over 5 ms  [0/8, 0 pruned]"]


def test_before_there_is_a_best_none_is_said() -> None:
    lines: list[str] = []
    progress = LineProgress(tally(), lines.append)
    progress.begin(trial(0, RUNNING))
    progress.end(trial(0, FAILED, reason="Crash"))
    assert lines == ["trial    0 failed    Crash  [1/8, 0 pruned]"]


def test_a_line_now_and_then_where_no_trial_ends(clock: Clock) -> None:
    lines: list[str] = []
    progress = LineProgress(tally(), lines.append)
    progress.begin(trial(0, RUNNING))
    for epoch in range(1, 8):
        clock.now += QUIET / 3
        progress.epoch(trial(0, RUNNING, *[0.5] * epoch))
    assert lines == [
        f"trial    0 running   error 0.5000 after {epochs} epochs 1,234,567 params  [0/8, 0 pruned]"
        for epochs in (3, 6)
    ]


def test_any_line_breaks_the_silence(clock: Clock) -> None:
    lines: list[str] = []
    progress = LineProgress(tally(), lines.append)
    progress.begin(trial(0, RUNNING))
    clock.now += 0.9 * QUIET
    progress.note("trial 0 lost its worker process")
    clock.now += 0.9 * QUIET
    progress.epoch(trial(0, RUNNING, 0.5))
    assert lines == ["trial 0 lost its worker process"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (99.5, "2 min"),
        (12 * 60 + 29, "12 min"),
        (99.4 * 60, "99 min"),
        (99.5 * 60, "1 h 40 min"),
        (3 * 3600 + 5 * 60, "3 h 05 min"),
        (47.4 * 3600, "47 h 24 min"),
        (52 * 3600, "2 d 4 h"),
    ],
)
def test_a_duration_is_as_coarse_as_one_says_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("reason", "short"), [("Traceback\n  line 1\nCrash: x\n", "Crash: x"), ("too large", "too large"), ("", "")]
)
def test_the_reason_in_one_line_is_its_last(reason: str, short: str) -> None:
    assert trial(0, FAILED, reason=reason).short_reason == short


def test_without_a_reason_there_is_none_to_say() -> None:
    assert trial(0, FAILED).short_reason == ""
