"""Weights & Biases as a view of the search: one group per search, one run per trial, written by the driver alone.

All calls run in one thread behind a queue, so that a slow or unreachable server never makes the search wait, and an
error becomes one warning. Runs are offline unless a key is set, and from the first error of the server on. A run's id
is made from the search and the trial, so that a resumed search goes on with the same runs.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqconv import validation

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WandbTracker:
    """One W&B group per search and one run per trial."""

    project: str = "seqconv-nas"
    """W&B project."""
    entity: str | None = None
    """W&B user or team; null is the account's default."""
    mode: str = "auto"
    """online, offline, or auto: online where a key is set, else offline."""
    close_timeout: float = 60.0
    """Seconds that the end of a search waits at most for what is still to be sent: half in `close`, half at exit."""

    def __post_init__(self) -> None:
        validation.one_of("tracker.mode", self.mode, ("auto", "online", "offline"))
        validation.number("tracker.close_timeout", self.close_timeout, low=0, open_low=True)

    def open(self, *, folder: Path, group: str, config: Mapping[str, Any]) -> _WandbRuns:
        """Begin tracking; W&B itself is imported in the background."""
        return _WandbRuns(self, folder=folder, group=group, config=config)


class _WandbRuns:
    """Open runs by trial number, served by one thread."""

    def __init__(self, settings: WandbTracker, *, folder: Path, group: str, config: Mapping[str, Any]) -> None:
        self._settings, self._folder, self._group, self._config = settings, folder, group, config
        self._online = settings.mode == "online" or (settings.mode == "auto" and _has_key())
        self._runs: dict[int, Any] = {}
        self._patience = settings.close_timeout / 2
        self._sent = self._warned = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="wandb", daemon=True)
        self._thread.start()

    def start(self, number: int, config: Mapping[str, Any]) -> None:
        self._jobs.put(lambda: self._start(number, dict(config)))

    def log(self, number: int, metrics: Mapping[str, Any]) -> None:
        plain = {k: v for k, v in metrics.items() if isinstance(v, (int, float)) and k in _METRICS}
        self._jobs.put(lambda: self._runs[number].log(plain, step=int(plain["epoch"])))

    def finish(self, number: int, summary: Mapping[str, Any]) -> None:
        self._jobs.put(lambda: self._finish(number, dict(summary)))

    def close(self) -> list[str]:
        """Wait for the queue, but not for ever; runs of open trials are left to be resumed."""
        self._jobs.put(None)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._warn(f"gave up after {self._patience:g} s")
        if self._online:
            return [f"W&B: group {self._group} in project {self._settings.project}"]
        unsent = "*run-*" if self._sent else "offline-run-*"
        return [f"W&B, offline: wandb sync {self._folder / 'wandb' / unsent}"]

    def _serve(self) -> None:
        # W&B's reports of its own errors go to the same server, and the process would wait for them at its end.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        while (job := self._jobs.get()) is not None:
            self._guard(job)
        for run in self._runs.values():
            self._guard(lambda run=run: run.finish(exit_code=255))  # type: ignore[misc]

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self._warn(" ".join(f"{type(error).__name__}: {error}".split()))
            self._online = False

    def _warn(self, reason: str) -> None:
        if not self._warned:
            _LOG.warning("wandb: %s; the search goes on, and its folder has every result", reason)
        self._warned = True

    def _start(self, number: int, config: dict[str, Any]) -> None:
        if self._online:
            self._guard(lambda: self._init(number, config))
        if number not in self._runs:
            self._init(number, config)

    def _init(self, number: int, config: dict[str, Any]) -> None:
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=min(20.0, self._patience / 2),
            finish_timeout=self._patience,
            finish_timeout_raises=True,
            x_disable_stats=True,
            disable_git=True,
        )
        self._runs[number] = wandb.init(
            reinit="create_new",
            project=self._settings.project,
            entity=self._settings.entity,
            group=self._group,
            name=f"{self._group}-{number:04d}",
            id=hashlib.sha256(f"{self._group}/{number}".encode()).hexdigest()[:12],
            resume="allow" if self._online else None,
            dir=str(self._folder),
            mode="online" if self._online else "offline",
            config={**self._config, **config, "trial": number},
            settings=settings,
        )
        self._sent |= self._online

    def _finish(self, number: int, summary: dict[str, Any]) -> None:
        run = self._runs.pop(number)
        run.summary.update({key: value for key, value in summary.items() if value is not None})
        run.finish(exit_code=1 if summary.get("outcome") == "failed" else 0)


_METRICS = (
    "epoch", "train_loss", "train_error", "validation_loss", "validation_error", "learning_rate", "seconds",
    "images_per_second",
)  # fmt: skip


def _has_key() -> bool:
    """True where W&B would log in by itself: the environment, or the netrc file of this user."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return "api.wandb.ai" in netrc.read_text(encoding="utf-8")
    except OSError:
        return False
