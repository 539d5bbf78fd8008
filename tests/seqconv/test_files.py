from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seqconv.files import remove_leftovers, write_atomically

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is there already."""
    write_atomically(tmp_path / "table.csv", "first")
    return tmp_path / "table.csv"


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("content", ["Größe\n", "Größe\n".encode()])
def test_text_and_bytes(path: Path, content: str | bytes) -> None:
    write_atomically(path, content)
    assert files(path.parent) == {"table.csv": "Größe\n".encode()}


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing(
    failing: str, error: BaseException, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(*((os, "fsync", fail) if failing == "fsync" else (Path, "replace", fail)))
    with pytest.raises(type(error)):
        write_atomically(path, "second")
    assert files(path.parent) == {"table.csv": b"first"}


def test_a_kill_in_the_middle_keeps_the_old_file_and_what_it_leaves_is_removed(path: Path) -> None:
    killed = """
import os, signal, sys
from pathlib import Path
from seqconv.files import write_atomically
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), "second")
"""
    process = subprocess.run([sys.executable, "-c", killed, str(path)], cwd=ROOT, check=False)
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "first" and len(files(path.parent)) == 2
    (path.parent / "notes.part").write_text("mine")
    remove_leftovers(path.parent)
    assert files(path.parent) == {"table.csv": b"first", "notes.part": b"mine"}


def test_links_are_not_written_through(path: Path, tmp_path: Path) -> None:
    table = tmp_path / "link.csv"
    for link in (table, tmp_path / f".link.csv.{os.getpid()}.part"):
        link.symlink_to(path)
    write_atomically(table, "second")
    assert not table.is_symlink()
    assert files(tmp_path) == {"table.csv": b"first", "link.csv": b"second"}
