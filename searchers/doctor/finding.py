"""What is wrong with a run folder, and where damaged files go when they are repaired."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class Aside:
    """The folder in which everything is kept that a repair replaces; made when it is first needed.

    Args:
        run: the run folder.
        name: of the folder in it.
    """

    def __init__(self, run: Path, name: str) -> None:
        self._run, self.path = run, run / name

    def move(self, path: Path) -> None:
        """Take a file or folder away."""
        shutil.move(path, self._place(path))

    def copy(self, path: Path) -> None:
        """Keep a file that is about to be replaced."""
        if path.is_file():
            shutil.copy2(path, self._place(path))

    def _place(self, path: Path) -> Path:
        place = self.path / path.relative_to(self._run)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    where: str
    """File or folder, relative to the run folder."""
    problem: str
    """What is wrong with it."""
    lost: str
    """What that means: what is lost, and what is not."""
    repair: str = ""
    """What a repair does; empty where there is none."""
    mend: Callable[[Aside], None] | None = None
    """Does that."""
    harmless: bool = False
    """Whether a search goes on with it as it is."""


def by_moving(path: Path) -> Callable[[Aside], None]:
    """The repair that takes a file away."""
    return lambda aside: aside.move(path)


def first_line(error: Exception) -> str:
    """Of its message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
