"""Weights & Biases as a view of the search: one sweep and one group per search, one run per trial.

The search only notes what happens, see `ledger`. A process of its own reads that and talks to W&B, so that a server
that is slow, unreachable or wrong costs the search nothing but a warning, and what W&B does to a process is not done to
the search's.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.space import SearchSpace
from searchers.tracking.ledger import FINISH, LOG, START, Ledger
from searchers.tracking.sweep import sweep_config
from searchers.tracking.tracker import shown
from searchers.tracking.wandb_folder import Known, WandbFolder
from seqconv import validation

_LOG = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[2]
_PROCESS = ("-P", "-m", "searchers.tracking.wandb_process")
_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
"""Seconds after an error before W&B is tried again; twice as many after each further one, up to the second."""


@dataclass(frozen=True, kw_only=True)
class WandbTracker:
    """One W&B sweep and group per search, and one run per trial."""

    project: str = "seqconv-nas"
    """W&B project."""
    entity: str | None = None
    """W&B user or team; null is the account's default."""
    mode: str = "auto"
    """online, offline, or auto: online where somebody is logged in, else offline."""
    close_timeout: float = 60.0
    """Seconds that the end of a search waits at most for what is still to be sent."""

    def __post_init__(self) -> None:
        _name("tracker.project", self.project)
        if self.entity is not None:
            _name("tracker.entity", self.entity)
        validation.one_of("tracker.mode", self.mode, ("auto", "online", "offline"))
        validation.number("tracker.close_timeout", self.close_timeout, low=0, open_low=True)

    def open(
        self, *, folder: Path, group: str, config: Mapping[str, Any], space: SearchSpace, objectives: tuple[str, ...]
    ) -> _WandbSearch:
        """Begin tracking; W&B itself is imported in the other process."""
        sweep = sweep_config(space, name=group, objectives=objectives)
        known = Known(project=self.project, entity=self.entity, group=group, config=dict(config), sweep=sweep)
        return _WandbSearch(self, WandbFolder(folder), known)


class _WandbSearch:
    """What the search sees of it."""

    def __init__(self, settings: WandbTracker, folder: WandbFolder, known: Known) -> None:
        self._settings, self._folder, self._known = settings, folder, known
        self._ledger = Ledger(folder.ledger)
        self._process: subprocess.Popen[bytes] | None = None
        self._pause, self._next = _PAUSE, time.monotonic()
        self._online, self._url = False, known.sweep_url
        self._warned = False
        try:
            folder.open(known)
        except OSError as error:
            self._warn(f"{type(error).__name__}: {error}")
        self._look_after()

    def start(self, number: int, config: Mapping[str, Any]) -> None:
        self._note(START, number, {"config": dict(config)})

    def log(self, number: int, metrics: Mapping[str, Any]) -> None:
        self._note(LOG, number, {"metrics": shown(metrics)})

    def finish(self, number: int, summary: Mapping[str, Any]) -> None:
        self._note(FINISH, number, {"summary": dict(summary)})

    def close(self) -> list[str]:
        """Wait for the process, but not for ever; trials that are open can be gone on with."""
        code = self._end()
        if code == 0 and self._online:
            return [f"W&B: {self._url or f'group {self._known.group} in project {self._known.project}'}"]
        upload = f"python -m searchers.tracking.upload {shlex.quote(f'run={self._folder.run}')}"
        return [f"W&B, {'incomplete' if self._online or self._warned else 'offline'}: upload it with {upload}"]

    def _note(self, event: str, number: int, content: Mapping[str, Any]) -> None:
        try:
            self._ledger.append(event, number, content)
        except OSError as error:
            self._warn(f"{type(error).__name__}: {error}")
        self._look_after()

    def _look_after(self) -> None:
        """Hear what the process has to say; start it, and some time after it gave up start it again."""
        if self._process is not None:
            self._listen(self._process)
            if self._process.poll() is not None:
                self._end()
                self._next = time.monotonic() + self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        elif time.monotonic() >= self._next:
            self._launch()

    def _launch(self) -> None:
        patience = str(self._settings.close_timeout)
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        try:
            with self._folder.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, *_PROCESS, str(self._folder.run), self._settings.mode, patience],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": path},
                    bufsize=0,
                    start_new_session=True,  # Ctrl-C is for the search, which then closes it
                )
        except OSError as error:
            self._warn(f"{type(error).__name__}: {error}")
            self._next = time.monotonic() + self._pause
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _end(self) -> int | None:
        """End the process, which is given time where it has something left to do; returns its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(self._settings.close_timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self._warn(f"gave up after {self._settings.close_timeout:g} s")
        self._listen(process)
        process.stdout.close()
        if process.returncode:
            self._warn(f"its process ended with exit code {process.returncode}, see {self._folder.log}")
        return process.returncode

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in (process.stdout.read(1 << 16) or b"").splitlines():
            said = json.loads(line)
            if "warning" in said:
                self._warn(said["warning"])
            else:
                self._online, self._url = said["online"], said["url"]

    def _warn(self, reason: str) -> None:
        if not self._warned:
            _LOG.warning("wandb: %s; the search goes on, and its folder has every result", reason)
        self._warned = True


def _name(where: str, value: Any) -> str:
    """A name that W&B takes."""
    if not isinstance(value, str) or not value or len(value) > 128 or set(value) & set("/\\#?%:"):
        raise ValueError(f"{where} must be a text of at most 128 characters without / \\ # ? % :, got {value!r}")
    return value
