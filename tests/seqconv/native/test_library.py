"""What stands in the way of the library, and what lies in its cache. Most compilers here are scripts."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import re
import shutil
import stat
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from seqconv.native import library
from seqconv.native.library import unavailable
from seqconv.native.structures import Tensors

ROOT = Path(__file__).parents[3]
CAN_BE_MADE = (
    sys.platform != "win32"
    and torch.backends.cpu.get_cpu_capability() in library.INSTRUCTIONS
    and any(map(shutil.which, library.COMPILERS))
)
only_where_it_can_be_made = pytest.mark.skipif(not CAN_BE_MADE, reason="no compiler, or another kind of processor")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache of a process that has not asked yet: empty, where no other test looks."""
    monkeypatch.delenv(library.SWITCH, raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "seqconv"
    forget()


def forget() -> None:
    library.library.cache_clear()
    unavailable.cache_clear()


@pytest.fixture
def compiler(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes the compiler a script, where `$made` is the file that is to be made, on a processor with AVX2."""

    def becomes(script: str) -> Path:
        path = tmp_path / "compiler"
        path.write_text(f"#!/bin/sh\nfor made; do :; done\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setenv("CXX", str(becomes('echo once >> "$0.calls"; echo code > "$made"')))
    return becomes


def calls(tmp_path: Path) -> int:
    """How often the script that the fixture makes was run."""
    return len((tmp_path / "compiler.calls").read_text(encoding="utf-8").split())


@only_where_it_can_be_made
def test_it_is_there_where_it_can_be(cache: Path) -> None:
    assert unavailable() is None
    (file,) = cache.iterdir()
    assert re.fullmatch(r"layer-avx(2|512)-[0-9a-f]{16}\.so", file.name)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    made = file.stat()
    forget()
    assert unavailable() is None
    assert (file.stat().st_ino, file.stat().st_mtime) == (made.st_ino, made.st_mtime), "was compiled again"


@only_where_it_can_be_made
def test_structures_are_as_large_as_in_c(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it compiles says so; here it must not."""
    right = f"-DTENSORS_BYTES={ctypes.sizeof(Tensors)}"
    options = tuple("-DTENSORS_BYTES=8" if option == right else option for option in library.OPTIONS)
    monkeypatch.setattr(library, "OPTIONS", (*options, "-fsyntax-only"))
    assert "not as structures.py lays them out" in (unavailable() or "")


class TestReasons:
    def test_it_is_switched_off(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SEQCONV_NATIVE", "0")
        assert unavailable() == "SEQCONV_NATIVE is 0"
        assert not cache.exists()

    def test_another_processor(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "SVE256")
        assert unavailable() == "the processor has none of AVX512, AVX2; torch calls it SVE256"

    def test_another_system(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        assert unavailable() == "it is not for Windows"

    @pytest.mark.usefixtures("compiler")
    def test_the_compiler_that_is_named_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CXX", "/nowhere/c++")
        assert unavailable() == "no compiler: found no /nowhere/c++"

    @pytest.mark.usefixtures("compiler")
    def test_no_compiler(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CXX")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert unavailable() == "no compiler: found no c++ or g++ or clang++"

    def test_a_compiler_that_fails(self, compiler: Callable[[str], Path], cache: Path) -> None:
        """In lines, at length, and not in UTF-8."""
        path = compiler("printf 'no header\\n   of \\351\\n' >&2; seq 1000 >&2; exit 1")
        reason = unavailable() or ""
        assert reason.startswith(f"{path} failed: no header of \N{REPLACEMENT CHARACTER} 1 2 3 ")
        assert len(reason) == len(f"{path} failed: ") + 500
        assert list(cache.iterdir()) == []

    def test_a_compiler_that_hangs(
        self, compiler: Callable[[str], Path], cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(library, "TIMEOUT_S", 0.2)
        path = compiler("exec sleep 60")
        assert unavailable() == f"{path} did not end in 0 s"
        assert list(cache.iterdir()) == []

    def test_a_compiler_that_makes_nothing(self, compiler: Callable[[str], Path], cache: Path) -> None:
        compiler("exit 0")
        assert re.search(r"No such file or directory: '.*\.so'", unavailable() or "")
        assert list(cache.iterdir()) == []

    def test_a_compiler_that_cannot_be_run(self, compiler: Callable[[str], Path]) -> None:
        compiler("").write_bytes(b"\0")
        assert "Exec format error" in (unavailable() or "")

    @pytest.mark.usefixtures("compiler")
    def test_what_was_made_is_no_library(self, cache: Path) -> None:
        assert str(cache) in (unavailable() or "")

    @pytest.mark.usefixtures("compiler")
    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
    def test_a_cache_that_others_can_write(self, cache: Path, mode: int) -> None:
        cache.mkdir(parents=True)
        cache.chmod(mode)
        assert unavailable() == f"{cache} can be written by others"
        assert list(cache.iterdir()) == []

    @pytest.mark.usefixtures("compiler")
    def test_a_cache_of_somebody_else(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache.mkdir(parents=True)
        monkeypatch.setattr(os, "getuid", lambda: cache.stat().st_uid + 1)
        assert unavailable() == f"{cache} can be written by others"

    @pytest.mark.usefixtures("compiler")
    def test_a_link_to_a_folder_that_others_can_write(self, cache: Path, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        cache.parent.mkdir()
        cache.symlink_to(tmp_path / "open")
        assert unavailable() == f"{tmp_path / 'open'} can be written by others"

    @pytest.mark.usefixtures("compiler")
    def test_a_file_in_the_place_of_the_cache(self, cache: Path) -> None:
        cache.parent.mkdir()
        cache.touch()
        assert unavailable() == f"[Errno 17] File exists: '{cache}'"

    @pytest.mark.usefixtures("compiler")
    def test_a_cache_that_cannot_be_made(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(path: Path, **_: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        monkeypatch.setattr(Path, "mkdir", refused)
        assert unavailable() == f"[Errno 30] Read-only file system: '{cache}'"

    @pytest.mark.usefixtures("compiler")
    def test_a_user_without_a_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(_: int) -> None:
            raise KeyError("uid not found")

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(pwd, "getpwuid", unknown)
        assert unavailable() == "no folder to keep it in: Could not determine home directory."


class TestCache:
    @pytest.mark.usefixtures("compiler")
    def test_it_is_below_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert library._compiled().parent == tmp_path / ".cache" / "seqconv"

    @pytest.mark.usefixtures("compiler")
    def test_it_is_compiled_once(self, cache: Path, tmp_path: Path) -> None:
        path = library._compiled()
        assert path.read_bytes().startswith(b"code\n")
        assert library._compiled() == path
        assert calls(tmp_path) == 1
        assert list(cache.iterdir()) == [path]

    @pytest.mark.usefixtures("compiler")
    @pytest.mark.parametrize(
        "damage",
        [lambda content: b"", lambda content: content[:-1], lambda content: b"c\0de" + content[4:]],
        ids=["empty", "cut off", "a byte is another"],
    )
    def test_what_is_damaged_is_compiled_again(self, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
        path = library._compiled()
        content = path.read_bytes()
        path.write_bytes(damage(content))
        assert library._compiled() == path
        assert path.read_bytes() == content
        assert calls(tmp_path) == 2

    def test_several_compile_at_once(self, compiler: Callable[[str], Path], cache: Path, tmp_path: Path) -> None:
        """Each finds a whole library, and whoever comes later does not compile."""
        compiler('echo once >> "$0.calls"; echo co > "$made"; sleep 0.3; echo de >> "$made"')

        def compiled(_: int) -> bytes:
            return library._compiled().read_bytes()

        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(compiled, range(4)))
        before = calls(tmp_path)
        assert before > 1
        assert {compiled(0)} == found
        assert calls(tmp_path) == before
        (file,) = cache.iterdir()
        assert library._is_whole(file)

    @pytest.mark.usefixtures("compiler")
    def test_what_it_is_made_of_names_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A source, a header, an option, the processor, the compiler."""
        copy = tmp_path / "native"
        shutil.copytree(library.SOURCES, copy)
        before = library._compiled()
        monkeypatch.setattr(library, "SOURCES", copy)
        assert library._compiled() == before
        found = [before]
        for source in ("layer.cpp", "rows.h"):
            with (copy / source).open("a", encoding="utf-8") as file:
                file.write("\n")
            found.append(library._compiled())
        monkeypatch.setattr(library, "OPTIONS", (*library.OPTIONS, "-g"))
        found.append(library._compiled())
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
        found.append(library._compiled())
        monkeypatch.setenv("CXX", str(shutil.copy(tmp_path / "compiler", tmp_path / "other")))
        found.append(library._compiled())
        assert len(set(found)) == 6
        assert all(path.exists() for path in found), "another checkout may use them"

    @pytest.mark.usefixtures("compiler")
    def test_what_is_old_goes_when_something_is_made(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache.mkdir(parents=True, mode=0o700)
        for name in ("layer-avx2-0.so", "layer-avx512-1.so", "notes.txt"):
            (cache / name).touch()
        for name in (".compiling-a", ".compiling-b"):
            (cache / name).mkdir()
            (cache / name / "half.so").touch()
        for name in ("layer-avx2-0.so", "notes.txt", ".compiling-a"):
            os.utime(cache / name, times=(time.time() - library.KEPT_S - 60,) * 2)
        path = library._compiled()
        assert {left.name for left in cache.iterdir()} == {path.name, "layer-avx512-1.so", ".compiling-b", "notes.txt"}
        os.utime(path, times=(0, 0))
        assert library._compiled() == path
        assert path.exists()


def test_a_wheel_holds_the_sources() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    sources = {file for file in library.SOURCES.iterdir() if file.is_file() and file.suffix not in (".py", ".pyc")}
    packed = {file for wanted in settings["package-data"]["seqconv.native"] for file in library.SOURCES.glob(wanted)}
    assert library.SOURCES / "layer.cpp" in sources
    assert packed == sources
