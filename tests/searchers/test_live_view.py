from __future__ import annotations

import io
import os
import pty
import re
import sys
import threading
import time

import pytest
from rich.console import Console

from searchers import live_view
from searchers.device_use import DeviceUse
from searchers.live_view import LiveView, draw
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING
from searchers.tally import Tally
from tests.searchers.trials import ARCHITECTURE, Clock, tally, trial

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def console(width: int = 80, height: int = 24, file: io.TextIOBase | None = None) -> Console:
    size = {"width": width, "height": height}
    return Console(file=file or io.StringIO(), force_terminal=True, color_system="standard", record=True, **size)


def drawn(search: Tally, width: int = 80, height: int = 24, screen: Console | None = None) -> list[str]:
    screen = screen or console(width, height)
    screen.print(draw(search, "CPU load 1.9 of 2 cores", screen))
    return [line.rstrip() for line in screen.export_text().splitlines()]


def busy(running: int = 2, **settings: object) -> Tally:
    """A search with trials of all kinds."""
    ended = [
        trial(0, COMPLETED, 0.9, 0.5, 0.4, 0.3),
        trial(1, PRUNED, 0.9),
        trial(2, DUPLICATE, 0.9, 0.5, 0.4, 0.3),
        trial(3, REFUSED),
        trial(4, FAILED),
    ]
    search = tally(trials=12, **settings)  # type: ignore[arg-type]
    for record in ended:
        search.end(record)
    for number in range(5, 5 + running):
        search.begin(trial(number, RUNNING, *[0.5] * (number % 4)))
    return search


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_everything_is_there_at_80_columns(clock: Clock) -> None:
    search = busy()
    clock.now += 60
    blank, trials, *facts, first, second = drawn(search)
    assert blank == ""
    assert trials.startswith("trials   ━━━━") and trials.endswith(" 3 of 12")
    assert facts == [
        "ended    1 completed, 1 pruned, 1 failed, 1 duplicate, 1 refused",
        "time     60 s so far, 99 s to go, 180 trials an hour",
        "device   CPU load 1.9 of 2 cores",
        "best     trial 0: error 0.3000 after 4 epochs, 1,234,567 params",
        f"         {ARCHITECTURE.describe()}",
    ]
    assert first.startswith("running  trial 5  ━━━━") and first.endswith("  1/4  0.5000  0:01:00")
    assert second.startswith("         trial 6  ━━━━") and second.endswith("  2/4  0.5000  0:01:00")


def test_before_anything_is_known(clock: Clock) -> None:
    *_, trials, ended, passed, device, running = drawn(tally())
    assert trials.startswith("trials   ━") and trials.endswith(" 0 of 8")
    assert (ended, passed) == ("ended    0 completed, 0 pruned, 0 failed", "time     0 s so far, - to go")
    assert (device, running) == ("device   CPU load 1.9 of 2 cores", "running  -")


def test_several_objectives_have_a_front() -> None:
    assert "front    1 trial of error, macs" in drawn(busy(objectives=("error", "macs")))
    assert not [line for line in drawn(busy()) if line.startswith("front")]


def test_architectures_of_running_trials_are_shown_where_there_is_room() -> None:
    *_, wide = drawn(busy(1), width=140)
    assert wide.endswith(ARCHITECTURE.describe())
    *_, narrow = drawn(busy(1), width=100)
    assert "W1" not in narrow


@pytest.mark.parametrize("width", [40, 60, 80, 140, 300])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = drawn(busy(objectives=("error", "macs")), width=width)
    assert max(map(len, lines)) <= width
    assert [line for line in lines if "trial 6" in line]


@pytest.mark.parametrize(("running", "height", "more"), [(17, 24, None), (18, 24, "and 2 more"), (9, 8, "9 trials")])
def test_as_many_running_trials_are_shown_as_there_is_room_for(running: int, height: int, more: str | None) -> None:
    lines = drawn(busy(running), height=height)
    assert len(lines) == max(height, 8)
    shown = [line for line in lines if "0:00:00" in line]
    assert len(shown) == {None: 17, "and 2 more": 16, "9 trials": 0}[more]
    assert more is None or lines[-1].endswith(more)


def test_a_bar_without_colour_shows_only_what_is_done() -> None:
    plain = Console(file=io.StringIO(), force_terminal=True, no_color=True, record=True, width=80, height=24)
    *_, row = drawn(busy(1))
    *_, row_without = drawn(busy(1), screen=plain)
    assert row_without.count("━") == pytest.approx(row.count("━") / 4, abs=1)
    assert len(row_without) == len(row)


def opened(file: io.TextIOBase, search: Tally | None = None) -> LiveView:
    return LiveView(console(file=file), search or tally(), DeviceUse(gpus=False))


def test_ended_trials_and_notes_stand_above_the_view_for_good() -> None:
    file = io.StringIO()
    view = opened(file)
    view.begin(trial(0, RUNNING))
    view.epoch(trial(0, RUNNING, 0.5))
    view.note("[bold]trial[/bold] 0 lost its worker process")
    view.end(trial(0, COMPLETED, 0.5, 0.25))
    view.end(trial(1, DUPLICATE, 0.5, 0.25))
    view.begin(trial(2, RUNNING))
    view.end(trial(2, FAILED, reason="Traceback\nCrash: [red]x"))
    view.close()
    lines = [line for line in _screen(file.getvalue()) if line]
    assert lines == [
        "[bold]trial[/bold] 0 lost its worker process",
        "trial    0 completed error 0.2500 after 2 epochs 1,234,567 params",
        "trial    2 failed    Crash: [red]x",
    ]


def test_the_terminal_is_left_as_it_was() -> None:
    file, before = io.StringIO(), (sys.stdout, sys.stderr)
    view = opened(file)
    assert HIDE in file.getvalue() and SHOW not in file.getvalue()
    view.close()
    view.close()
    assert file.getvalue().rindex(SHOW) > file.getvalue().rindex(HIDE)
    assert (sys.stdout, sys.stderr) == before
    assert not [line for line in _screen(file.getvalue()) if line]
    for thread in threading.enumerate():
        if "Refresh" in type(thread).__name__:
            thread.join(10)
            assert not thread.is_alive()


def test_what_others_print_does_not_disturb_it() -> None:
    file = io.StringIO()
    view = opened(file)
    print("said by a library")
    view.close()
    assert [line for line in _screen(file.getvalue()) if line] == ["said by a library"]


@pytest.mark.parametrize("of_terminal", [True, False])
def test_errors_that_go_to_a_file_still_go_there(of_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    errors, file = io.StringIO(), io.StringIO()
    monkeypatch.setattr(errors, "isatty", lambda: of_terminal)
    monkeypatch.setattr(sys, "stderr", errors)
    view = opened(file)
    print("warning", file=sys.stderr)
    view.close()
    assert (errors.getvalue() == "warning\n", "warning" in file.getvalue()) == (not of_terminal, of_terminal)


def test_it_follows_the_size_of_the_terminal() -> None:
    screen = console(140, 40)
    view = LiveView(screen, busy(), DeviceUse(gpus=False))
    try:
        for width in (140, 60, 100):
            screen.width = width
            lines = ["".join(part.text for part in line) for line in screen.render_lines(view.view())]
            assert max(len(line.rstrip()) for line in lines) == width
    finally:
        view.close()


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_is_drawn_by_a_thread_while_another_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real terminal, many times a second; the number of views is what its thread drew."""
    monkeypatch.setattr(live_view, "REFRESH", 200.0)
    views = []
    monkeypatch.setattr(live_view, "draw", lambda *a: (views.append(threading.current_thread()), draw(*a))[1])
    master, slave = pty.openpty()
    received: list[bytes] = []
    reader = threading.Thread(target=_read, args=(master, received), daemon=True)
    reader.start()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        view = opened(terminal, tally(trials=10_000))
        until, number = time.monotonic() + 0.7, 0
        while time.monotonic() < until:
            view.begin(trial(number, RUNNING))
            view.epoch(trial(number, RUNNING, 0.5))
            view.end(trial(number, COMPLETED, 0.5))
            number += 1
        view.close()
    reader.join(10)
    os.close(master)
    assert len({thread.ident for thread in views}) > 1
    text = b"".join(received).decode()
    assert text.count(" completed error ") == number
    assert text.rindex(SHOW) > text.rindex(HIDE)


def _read(descriptor: int, received: list[bytes]) -> None:
    while True:
        try:
            received.append(os.read(descriptor, 65536))
        except OSError:  # the other end is closed
            return


def _screen(text: str) -> list[str]:
    """What stands on a terminal after these characters: carriage return, line feed, cursor up, erase line."""
    lines, row = [""], 0
    for part in re.sub(r"\x1b\[(\?25[hl]|[\d;]*m)", "", text).split("\x1b["):
        if part.startswith("1A"):
            row, part = row - 1, part[2:]
        elif part.startswith("2K"):
            lines[row], part = "", part[2:]
        for index, line in enumerate(part.split("\n")):
            row += index > 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] += line.replace("\r", "")
    return [line.rstrip() for line in lines]
