"""Files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_NAMED = 50
"""Characters of a name that a temporary file has too: all of a long one would leave no room for the rest."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` in one step, after its new content has reached the disk; text as UTF-8.

    A link of that name is replaced too, and the file that it leads to is left alone.
    """
    # Two processes may write for one trial: workers of a killed search live on for seconds after it was resumed.
    part = path.with_name(f".{path.name[:_NAMED]}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete the half-written files of a process that was killed."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
