"""The C++ of this folder as a library: compiled for this machine when it is first asked for, then kept in a cache.

Whatever stands in the way (no compiler, another kind of processor, a cache that cannot be written) is a reason to go
without it, never an error: `unavailable` says which.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from seqconv.native.structures import Integer, Layer, Tensors

SOURCES = Path(__file__).parent
OPTIONS = (
    *("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp"),
    *(f"-DLAYER_BYTES={ctypes.sizeof(Layer)}", f"-DTENSORS_BYTES={ctypes.sizeof(Tensors)}"),
)
"""No -ffast-math: rounding stays as it is written. The sizes are for layer.cpp to compare with its own."""
INSTRUCTIONS = {"AVX512": ("-mavx512f", "-mavx2", "-mfma"), "AVX2": ("-mavx2", "-mfma")}
"""By what torch calls the processor's capability; chosen by it, not by the machine that compiles."""
COMPILERS = ("c++", "g++", "clang++")
SWITCH = "SEQCONV_NATIVE"
"""Environment variable; 0 goes without the library."""
TIMEOUT_S = 300.0
"""Longest that the compiler may take. It takes about 4 seconds."""
CHECKSUM_BYTES = hashlib.sha256().digest_size
"""At the end of each file in the cache, behind all that a loader reads."""
KEPT_S = 30 * 24 * 3600
"""What is older goes when something is compiled. Checkouts that share a cache leave one another what is younger."""


class Unavailable(Exception):
    """There is no library, and why."""


@functools.cache
def library() -> ctypes.CDLL:
    """The library.

    Raises:
        Unavailable: there can be none.
    """
    try:
        return _loaded(_compiled())
    except OSError as error:
        raise Unavailable(str(error)) from None


@functools.cache
def unavailable() -> str | None:
    """Why there is no library; None where there is one."""
    try:
        library()
    except Unavailable as reason:
        return str(reason)
    return None


def _loaded(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    layer, tensors, floats = ctypes.POINTER(Layer), ctypes.POINTER(Tensors), ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "seqconv_places": (Integer, [layer]),
        "seqconv_kept": (Integer, [layer]),
        "seqconv_workspace": (Integer, [layer, tensors, ctypes.c_int]),
        "seqconv_forward": (None, [layer, tensors, floats]),
        "seqconv_backward": (None, [layer, tensors, floats]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def _compiled() -> Path:
    """The file of the library, compiled if need be."""
    if os.environ.get(SWITCH) == "0":
        raise Unavailable(f"{SWITCH} is 0")
    if sys.platform == "win32":
        raise Unavailable("it is not for Windows")
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in INSTRUCTIONS:
        raise Unavailable(f"the processor has none of {', '.join(INSTRUCTIONS)}; torch calls it {capability}")
    named = os.environ.get("CXX")
    names = (named,) if named else COMPILERS
    compiler = next(filter(None, map(shutil.which, names)), None)
    if compiler is None:
        raise Unavailable(f"no compiler: found no {' or '.join(names)}")
    options = [*OPTIONS, *INSTRUCTIONS[capability]]
    digest = hashlib.sha256(" ".join([os.path.realpath(compiler), *options]).encode())
    for source in sorted(SOURCES.glob("*.[ch]*")):
        digest.update(source.read_bytes())
    path = _cache() / f"layer-{capability.lower()}-{digest.hexdigest()[:16]}.so"
    if not _is_whole(path):
        _compile([compiler, *options, str(SOURCES / "layer.cpp")], path)
        _remove_old(path.parent)
    return path


def _compile(command: list[str], path: Path) -> None:
    """Several processes may at once: each moves what it made to its place in one step."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".compiling-") as folder:
        made = Path(folder, path.name)
        try:
            done = subprocess.run(
                [*command, "-o", str(made)], capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{command[0]} did not end in {TIMEOUT_S:.0f} s") from None
        if done.returncode:
            raise Unavailable(f"{command[0]} failed: {' '.join(done.stderr.split())[:500]}")
        content = made.read_bytes()
        made.write_bytes(content + hashlib.sha256(content).digest())
        made.replace(path)


def _is_whole(path: Path) -> bool:
    """Whether it is there and ends in its checksum: what is damaged would be executed all the same."""
    content = path.read_bytes() if path.exists() else b""
    return hashlib.sha256(content[:-CHECKSUM_BYTES]).digest() == content[-CHECKSUM_BYTES:]


def _remove_old(cache: Path) -> None:
    """What other versions and compilers that were killed have left; whoever still needs it compiles it anew."""
    for left in (*cache.glob("layer-*.so"), *cache.glob(".compiling-*")):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > KEPT_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _cache() -> Path:
    """A folder of the user alone, because what lies in it is executed. Links are followed before it is looked at."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise Unavailable(f"no folder to keep it in: {error}") from None
    folder = (root / "seqconv").resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise Unavailable(f"{folder} can be written by others")
    return folder
