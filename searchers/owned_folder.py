"""A folder of results that one process at a time writes to: of a search, or of a promotion."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seqconv.files import remove_leftovers

HEAD = ("schema", "version", "id")
"""Keys of the file that says what a folder is of, before those that its results depend on."""
LOCK = ".lock"
"""File in the folder that is locked by the process that writes to it."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the folder is of, for messages and to find it again."""

    name: str
    """Such as search."""
    setting: str
    """That names the folder on the command line."""
    file: str
    """That stands in every such folder."""
    schema: str
    """Of that file."""
    version: int
    """Of that schema."""

    def head(self) -> dict[str, Any]:
        """How the file of a folder begins."""
        return {"schema": self.schema, "version": self.version, "id": uuid.uuid4().hex[:8]}

    def is_in(self, path: Path) -> bool:
        """Whether such a folder is there; False where one may begin.

        Raises:
            ValueError: a file, or a folder with something else in it.
        """
        if path.exists() and not path.is_dir():
            raise ValueError(f"{self.setting}={path}: is a file; {self.setting}= takes a folder")
        if (path / self.file).is_file():
            return True
        # Hidden files are what a command leaves that was killed before its first entry.
        if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
            reason = f"is not empty and holds no {self.name} ({self.file} is missing)"
            raise ValueError(f"{self.setting}={path}: {reason}; pass another {self.setting}=")
        return False

    def newest_first(self, root: Path) -> list[Path]:
        """Folders of this kind in `root`."""
        files = sorted(root.glob(f"*/{self.file}"), key=lambda file: file.stat().st_mtime, reverse=True)
        return [file.parent for file in files]


class OwnedFolder:
    """A folder that this process alone writes to, from `own` until `close` or the process ends.

    Args:
        path: the folder.
        kind: what it is of.
    """

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path = path
        self._kind = kind
        self._lock = FileLock(path / LOCK)

    def own(self) -> None:
        """Make the folder or take it over.

        Raises:
            ValueError: another process has it.
            OSError: it cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            name, setting = self._kind.name, self._kind.setting
            reason = f"another {name} is running in this folder; wait for it or pass another {setting}="
            raise ValueError(f"{setting}={self.path}: {reason}") from None
        remove_leftovers(self.path)

    def close(self) -> None:
        """Let another process have it."""
        self._lock.release()


def in_use(path: Path) -> bool:
    """Whether a process has a folder; False too where one may not look."""
    if not (path / LOCK).is_file():
        return False
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def fresh(root: Path, name: str) -> Path:
    """A folder in `root` that is not there: the name, the time, and four digits for what begins in the same second."""
    return root / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
