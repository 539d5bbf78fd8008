"""What the user sees of a search while it runs: a live view on a terminal, and lines everywhere else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Console

from searchers.device_use import DeviceUse
from searchers.live_view import LiveView
from searchers.progress_lines import LineProgress
from searchers.record import TrialRecord
from searchers.tally import Tally


class Progress(Protocol):
    """Follows one search. It is told of every trial by the thread that drives the search."""

    def begin(self, record: TrialRecord) -> None:
        """Training of a trial starts, or goes on after a restart."""

    def epoch(self, record: TrialRecord) -> None:
        """A running trial reported an epoch."""

    def rest(self, record: TrialRecord) -> None:
        """A member of a population waits until the others have come as far."""

    def end(self, record: TrialRecord) -> None:
        """A trial ended; a duplicate or a refused one was never begun."""

    def note(self, line: str) -> None:
        """Something else to tell the user, such as a lost worker."""

    def close(self) -> None:
        """Leave the terminal as it was; once more does nothing."""


def open_progress(
    console: Console,
    *,
    trials: int,
    epochs: int,
    concurrency: int,
    history: Iterable[TrialRecord],
    objectives: tuple[str, ...],
    gpus: bool,
    costs: Sequence[float] = (),
) -> Progress:
    """The live view where `console` is a terminal that a person looks at, else lines.

    Args:
        console: where it is shown.
        trials: to train in all.
        epochs: of a trial that nothing stops.
        concurrency: trials at a time.
        history: the trials of the search that an earlier process knew of.
        objectives: what is minimised.
        gpus: whether trials are trained on GPUs.
        costs: what each epoch of a trial costs against the others; equal ones where none are given.
    """
    tally = Tally(
        trials=trials, epochs=epochs, concurrency=concurrency, history=history, objectives=objectives, costs=costs
    )
    if not _is_watched(console):
        return LineProgress(tally, lambda line: console.print(line, markup=False))
    return LiveView(console, tally, DeviceUse(gpus=gpus))


def _is_watched(console: Console) -> bool:
    """False for files, dumb terminals and CI, also where colour is forced, and for what cannot show a bar."""
    terminal = console.file.isatty() and console.is_interactive and not os.environ.get("CI")
    return terminal and console.encoding.startswith("utf")
