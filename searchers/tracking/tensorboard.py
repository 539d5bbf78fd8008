"""TensorBoard as a view of the search: a folder per trial with its curves, and the table of what became of them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from search_spaces.space import SearchSpace
from searchers.tracking.tracker import ended, shown

_LOG = logging.getLogger(__name__)
_FINAL = ("error", "best_error", "epochs")
"""Numbers of the end of a trial that the table has a column for."""


@dataclass(frozen=True, kw_only=True)
class TensorBoardTracker:
    """Event files in the run folder, of every trial as soon as an epoch is done.

    Raises:
        ValueError: the package tensorboard is missing.
    """

    def __post_init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise ValueError("tracker=tensorboard needs the package tensorboard: pip install tensorboard")

    def open(
        self, *, folder: Path, group: str, config: Mapping[str, Any], space: SearchSpace, objectives: tuple[str, ...]
    ) -> _EventFiles:
        """Begin tracking; the modules that write the files are loaded here, before a trial waits for them."""
        import torch.utils.tensorboard  # noqa: F401

        return _EventFiles(folder / "tensorboard", config)


class _EventFiles:
    """A writer for each open trial. A resumed trial gets one more file in its folder, which TensorBoard reads on."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self._folder, self._config = folder, dict(config)
        self._trials: dict[int, dict[str, Any]] = {}
        self._writers: dict[int, Any] = {}
        self._warned = False

    def start(self, number: int, config: Mapping[str, Any]) -> None:
        self._guard(lambda: self._start(number, config))

    def log(self, number: int, metrics: Mapping[str, Any]) -> None:
        self._guard(lambda: self._log(number, shown(metrics)))

    def finish(self, number: int, summary: Mapping[str, Any]) -> None:
        self._guard(lambda: self._finish(number, ended(summary)))

    def close(self) -> list[str]:
        for number in list(self._writers):
            self._guard(self._writers.pop(number).close)
        return [f"TensorBoard: tensorboard --logdir {self._folder}"]

    def _start(self, number: int, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._trials[number] = {**self._config, **config, "trial": number}
        self._writers[number] = SummaryWriter(str(self._folder / f"{number:04d}"))

    def _log(self, number: int, metrics: Mapping[str, float]) -> None:
        writer = self._writers[number]
        for name, value in metrics.items():
            if name != "epoch":
                writer.add_scalar(name, value, int(metrics["epoch"]))
        writer.flush()  # a killed search loses nothing

    def _finish(self, number: int, summary: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard.summary import hparams

        writer = self._writers.pop(number)
        final = {name: summary[name] for name in _FINAL if name in summary}
        plain = {name: value for name, value in self._trials.pop(number).items() if value is not None}
        for part in hparams({**plain, "state": summary["state"]}, final):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(part)
        for name, value in final.items():
            writer.add_scalar(name, value, summary.get("epochs", 0))
        writer.close()

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            if not self._warned:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                _LOG.warning("tensorboard: %s; the search goes on, and its folder has every result", reason)
            self._warned = True
