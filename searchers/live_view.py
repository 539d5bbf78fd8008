"""Progress of a search as one view at the bottom of a terminal, above which the trials that ended scroll by."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from searchers.device_use import DeviceUse
from searchers.progress_lines import duration, trial_line
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, TrialRecord
from searchers.tally import Tally
from seqconv import Architecture

REFRESH = 1.0
"""Views a second."""
WIDE = 110
"""Columns from which on the architectures of running trials are shown."""
BAR = 40
"""Columns of a running trial's bar, at most, where its architecture stands beside it."""
_STYLES = {COMPLETED: "", PRUNED: "dim", FAILED: "red", REFUSED: "dim"}


class LiveView:
    """Shows what a tally says, with a clock; the terminal is the user's again after `close`.

    Args:
        console: a terminal.
        tally: of the search.
        device: how busy this machine is.
    """

    def __init__(self, console: Console, tally: Tally, device: DeviceUse) -> None:
        self._console, self._tally, self._device = console, tally, device
        # The view is drawn by a thread of rich. Never held while something is printed, which waits for that thread.
        self._lock = threading.Lock()
        self._live = Live(
            console=console,
            get_renderable=self.view,
            refresh_per_second=REFRESH,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start(refresh=True)

    def begin(self, record: TrialRecord) -> None:
        with self._lock:
            self._tally.begin(record)

    def epoch(self, record: TrialRecord) -> None:
        with self._lock:
            self._tally.epoch(record)

    def rest(self, record: TrialRecord) -> None:
        with self._lock:
            self._tally.rest(record)

    def end(self, record: TrialRecord) -> None:
        with self._lock:
            begun = self._tally.end(record)
        if begun:
            self._console.print(Text(trial_line(record), style=_STYLES[record.outcome]))

    def note(self, line: str) -> None:
        self._console.print(Text(line))

    def close(self) -> None:
        self._device.close()
        self._live.stop()

    def view(self) -> RenderableType:
        """The view as of this moment, for the terminal as wide and high as it is."""
        with self._lock:
            return draw(self._tally, self._device.text(), self._console)


def draw(tally: Tally, device: str, console: Console) -> RenderableType:
    """The whole view, with as many running trials as there is room for."""
    head = _rows()
    head.add_row("trials", _of_all(tally))
    head.add_row("ended", _ended(tally))
    head.add_row("time", _time(tally))
    head.add_row("device", device)
    if tally.best is not None:
        head.add_row("best", _found(tally.best))
        head.add_row("", _architecture(tally.best))
    if len(tally.objectives) > 1:
        head.add_row("front", f"{_count(tally.front, 'trial')} of {', '.join(tally.objectives)}")
    free = console.height - len(console.render_lines(head)) - 1
    below = _rows()
    below.add_row("running", _running(tally, max(1, free), wide=console.width >= WIDE))
    return Group("", head, below)


def _rows() -> Table:
    """A label, and what there is to say."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(style="dim", no_wrap=True, width=len("running"))
    table.add_column(ratio=1)
    return table


def _of_all(tally: Tally) -> RenderableType:
    row = Table.grid(padding=(0, 1, 0, 0), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    row.add_row(_bar(tally.trained, tally.trials), f"{tally.trained} of {tally.trials}")
    return row


def _ended(tally: Tally) -> str:
    """How many trials ended how: always those that a search has, the others once there are some."""
    counts = {**dict.fromkeys((COMPLETED, PRUNED, FAILED), 0), **tally.outcomes}
    return ", ".join(_count(n, name) if name == DUPLICATE else f"{n} {name}" for name, n in counts.items())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _time(tally: Tally) -> str:
    left = "-" if tally.left is None else duration(tally.left)
    speed = "" if tally.per_hour is None else f", {tally.per_hour:,.{0 if tally.per_hour >= 10 else 1}f} trials an hour"
    return f"{duration(tally.elapsed)} so far, {left} to go{speed}"


def _found(record: TrialRecord) -> str:
    result = f"error {record.error:.4f} after {_count(record.epochs, 'epoch')}"
    return f"trial {record.number}: {result}, {record.facts['params']:,} params"


def _running(tally: Tally, rows: int, *, wide: bool) -> RenderableType:
    """A line for each trial in training; where they are too many, the first ones and how many more."""
    running = tally.running
    shown = running if len(running) <= rows else running[: rows - 1]
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, max_width=BAR if wide else None)
    for _ in ("epochs", "error", "time"):
        table.add_column(justify="right", no_wrap=True)
    if wide:
        table.add_column(ratio=2)
    for each in shown:
        record = each.record
        table.add_row(
            f"trial {record.number}",
            _bar(record.epochs, tally.epochs),
            f"{record.epochs}/{tally.epochs}",
            "" if record.error is None else f"{record.error:.4f}",
            str(timedelta(seconds=int(each.elapsed))),
            *([_architecture(record)] if wide else []),
        )
    if len(shown) < len(running):
        return Group(table, f"and {len(running) - len(shown)} more") if shown else f"{len(running)} trials"
    return table if running else "-"


def _architecture(record: TrialRecord) -> Text:
    line = Architecture.from_dict(record.facts["architecture"]).describe()
    return Text(line, no_wrap=True, overflow="ellipsis")


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=total, completed=done, complete_style="cyan", finished_style="cyan")
