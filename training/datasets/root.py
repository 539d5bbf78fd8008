"""The folder that a user names with dataset.root."""

from __future__ import annotations

from pathlib import Path


def root_path(root: object) -> Path:
    """`root` as a path, with ~ as the home folder.

    Raises:
        ValueError: an empty name, or a value that is no name of a folder.
    """
    if not isinstance(root, str) or not root:
        raise ValueError(f"dataset.root must be the path of a folder, got {root!r}")
    return Path(root).expanduser()
