"""What stands in the folder `wandb` of a search, and how the search is known to W&B. W&B itself is not imported.

search.yaml             project, group and sweep; no key
trials.jsonl            what the tracker was told, see `ledger`
process.log             what the process that talks to W&B had to say
offline-run-*, run-*    W&B's own folder of each run
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from seqconv import validation
from seqconv.files import remove_leftovers, write_atomically
from seqconv.serialization import read_yaml, to_yaml

_SEARCH, _WHOLE = "search.yaml", "whole"


@dataclass(frozen=True, kw_only=True)
class Known:
    """How a search is known to W&B."""

    project: str
    """W&B project."""
    entity: str | None
    """W&B user or team; None is the account's default."""
    group: str
    """Name of the search."""
    config: Mapping[str, Any]
    """What all trials have in common, flat."""
    sweep: Mapping[str, Any] | None
    """Configuration of the sweep; None has none."""
    sweep_id: str | None = None
    """The sweep, once W&B has it."""
    sweep_url: str | None = None
    """Its page."""

    def run_id(self, number: int) -> str:
        """W&B's name of a trial's run: the same whenever and wherever it is shown."""
        return hashlib.sha256(f"{self.group}/{number}".encode()).hexdigest()[:12]

    def run_name(self, number: int) -> str:
        """The name that a person reads."""
        return f"{self.group}-{number:04d}"


class WandbFolder:
    """The folder `wandb` of a run folder."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run / "wandb"
        self.ledger = self.path / "trials.jsonl"
        self.log = self.path / "process.log"

    def known(self) -> Known:
        """How the search is known to W&B.

        Raises:
            ValueError: nothing of that kind is there.
        """
        path = self.path / _SEARCH
        if not path.is_file():
            raise ValueError(f"{self.run}: holds no search that was tracked with tracker=wandb: {path} is missing")
        names = [field.name for field in fields(Known)]
        required = [name for name in names if not name.startswith("sweep_")]
        return Known(**validation.exact_keys(str(path), read_yaml(path), required, names))

    def open(self, known: Known) -> None:
        """Make the folder; a sweep that the search has already in that project stays its sweep."""
        self.path.mkdir(exist_ok=True)
        remove_leftovers(self.path)
        with contextlib.suppress(ValueError):  # there was none, or its file is damaged
            before = self.known()
            if (before.project, before.entity) == (known.project, known.entity):
                known = replace(known, sweep_id=before.sweep_id, sweep_url=before.sweep_url)
        self.write(known)

    def write(self, known: Known) -> None:
        """Note how the search is known."""
        write_atomically(self.path / _SEARCH, to_yaml(asdict(known)))

    def runs(self, run_id: str) -> list[Path]:
        """W&B's folders of a run."""
        return [path for path in self.path.glob(f"*run-*-{run_id}") if path.is_dir()]

    def settled(self, *, sent: bool) -> dict[str, Path]:
        """Folders that say all there is to say of their trial, by run: those that W&B has, or else all of them."""
        marks = ["*.wandb.synced"] if sent else ["*.wandb.synced", _WHOLE]
        found = (path.parent for mark in marks for path in self.path.glob(f"*run-*/{mark}"))
        return {path.name.rpartition("-")[2]: path for path in found}

    def mark(self, run: Path, *, sent: bool) -> None:
        """Note that a run says all there is to say, and whether W&B has it, which `wandb sync` notes in the same way.

        Raises:
            OSError: its file is empty, or the mark cannot be written: on a full disk wandb itself does not complain.
        """
        written = next(run.glob("*.wandb"))
        size = written.stat().st_size
        if size == 0:
            raise OSError(f"{written} is empty, as on a full disk")
        mark = written.with_suffix(".wandb.synced") if sent else run / _WHOLE
        mark.write_text(f"{size} bytes\n")
