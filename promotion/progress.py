"""What the user sees of trainings that take hours: now and then a line, read off their metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from statistics import fmean

from promotion.results import read_epochs
from promotion.training import Training
from training.checkpoint import METRICS_FILE

BOTTLENECK = 0.3
"""Share of the training time spent waiting for images, above which that is told."""


class Progress:
    """Looks at the metrics of running trainings.

    Args:
        epochs: of each training.
        say: where a line goes.
        every: seconds between two lines of a training.
    """

    def __init__(self, epochs: int, say: Callable[[str], None], every: float = 60.0) -> None:
        self._epochs, self._say, self._every = epochs, say, every
        self._seen: dict[Path, int] = {}
        self._said: dict[Path, float] = {}
        self._told_of_the_loader = False

    def look(self, running: Collection[Training]) -> None:
        """Say what is new of these trainings, unless a line of theirs is recent."""
        for training in running:
            file = training.folder / METRICS_FILE
            changed = file.stat().st_mtime_ns if file.is_file() else 0
            if changed == self._seen.setdefault(training.folder, changed):
                continue
            epochs = read_epochs(training.folder)
            self._tell_of_the_loader(training, epochs[-1])
            now = time.monotonic()
            if now - self._said.get(training.folder, -self._every) >= self._every:
                self._seen[training.folder], self._said[training.folder] = changed, now
                self._say(self._line(training, epochs))

    def _line(self, training: Training, epochs: tuple[Mapping[str, float | None], ...]) -> str:
        last, done = epochs[-1], len(epochs)
        seconds = fmean(epoch["seconds"] or 0.0 for epoch in epochs[-5:])
        ema = "" if last["ema_error"] is None else f", averaged {last['ema_error']:.4f}"
        left = timedelta(seconds=round(seconds * (self._epochs - done)))
        return (
            f"{training.label}: epoch {done}/{self._epochs}, test error {last['test_error']:.4f}{ema}, "
            f"{last['images_per_second']:,.0f} images/s, {left} to go"
        )

    def _tell_of_the_loader(self, training: Training, last: Mapping[str, float | None]) -> None:
        share, rate = last["data_share"] or 0.0, last["images_per_second"] or 0.0
        if share <= BOTTLENECK or self._told_of_the_loader:
            return
        self._told_of_the_loader = True
        self._say(
            f"{training.label}: the loader is the bottleneck, {share:.0%} of the time passes with waiting for images: "
            f"it gives {rate:,.0f} images/s, the model takes {rate / (1 - share) if share < 1 else float('inf'):,.0f}; "
            "more dataset.workers, a faster disk or smaller files help"
        )
