"""Downloads one file: resumed where it stopped, checked, and in place only when it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

STALL = 30.0
"""Seconds without a byte after which a running download is given up."""


class DownloadError(ValueError):
    """The file could not be had; the message says why."""


def fetch(url: str, target: Path, *, md5: str, patience: float, stall: float = STALL) -> None:
    """Download `url` to `target` by way of `target`.part, which an interrupted download leaves for the next call.

    Args:
        url: http or https.
        target: the file to be; its folder is made where it is missing.
        md5: the checksum in hexadecimal.
        patience: seconds until the server must have answered, the resolution of its name included.
        stall: seconds without a byte after which it is given up.

    Raises:
        DownloadError: no answer, a connection that broke, a wrong checksum, or a folder that cannot be written.
        ValueError: another process is downloading the same file.
    """
    part = target.with_name(f"{target.name}.part")
    start = part.stat().st_size if part.is_file() else 0
    response = _request(url, start, patience, stall)
    if response is not None:
        with response, _opened(part, start) as file:
            _append(url, response, file, part, start)
    found = file_md5(part)
    if found != md5:
        part.unlink()
        raise DownloadError(f"{url} has md5 {found}, expected {md5}; what came was removed")
    part.replace(target)


def file_md5(path: Path) -> str:
    """The file's md5 sum in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextlib.contextmanager
def _opened(part: Path, size: int) -> Iterator[BinaryIO]:
    """The part file at its end, which is at `size`, and locked as long as it is open."""
    busy = f"{part}: another process is downloading it; wait until it is done"
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab")
    except OSError as error:
        raise DownloadError(f"{part.parent} cannot be written: {error.strerror or error}") from None
    with file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(busy) from None
        if file.tell() != size:
            raise ValueError(busy)
        yield file


def _request(url: str, start: int, patience: float, stall: float) -> HTTPResponse | None:
    """The server's answer for the bytes from `start` on; None where it has none after them."""
    request = Request(url, headers={"User-Agent": "seqconv-nas"} | ({"Range": f"bytes={start}-"} if start else {}))
    try:
        return _answer(request, patience, stall)
    except HTTPError as error:
        # Nothing follows the bytes that are there: the file is whole, or wrong, which the checksum tells.
        if error.code == 416 and start:
            return None
        raise DownloadError(f"{url} answered {error.code} {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(_reason(url, error, patience)) from None


def _append(url: str, response: HTTPResponse, file: BinaryIO, part: Path, start: int) -> None:
    """Write the answer behind the first `start` bytes, or in their place where the server sends all of it."""
    if response.status != 206:
        file.truncate(0)
        start = 0
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise DownloadError(f"{url} does not go on at byte {start}; remove {part} to start anew")
    length = response.headers.get("Content-Length")
    _receive(url, response, file, part, start, None if length is None else start + int(length))


def _receive(url: str, response: HTTPResponse, file: BinaryIO, part: Path, start: int, total: int | None) -> None:
    done = start
    with _progress(f"downloading {url} to {part.parent}", start, total) as progress:
        while True:
            try:
                chunk = response.read1(1 << 18)
            except (OSError, HTTPException) as error:
                raise DownloadError(_interrupted(url, str(error) or "it broke", done, part)) from None
            if not chunk:
                break
            try:
                file.write(chunk)
            except OSError as error:
                raise DownloadError(f"{part} cannot be written: {error.strerror or error}") from None
            done += len(chunk)
            progress(done)
    if total is not None and done < total:
        raise DownloadError(_interrupted(url, f"{total - done:,} bytes are missing", done, part))


def _answer(request: Request, patience: float, stall: float) -> HTTPResponse:
    """The response once its headers are there.

    In a thread of its own, because no socket timeout bounds the resolution of a name or the sum over its addresses.
    """
    result: queue.SimpleQueue[HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            result.put(urlopen(request, timeout=stall))
        except Exception as error:
            result.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = result.get(timeout=patience)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _reason(url: str, error: Exception, patience: float) -> str:
    """Why there was no answer, in a user's words."""
    host = urlsplit(url).hostname
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, socket.gaierror):
        return f"no network: the name {host} cannot be resolved"
    if isinstance(cause, ConnectionRefusedError):
        return f"{host} refuses the connection"
    if isinstance(cause, TimeoutError):
        return f"{host} did not answer within {patience:g} s"
    return f"{host}: {cause}"


def _interrupted(url: str, why: str, done: int, part: Path) -> str:
    return f"the connection to {url} ended early ({why}); {part} keeps {done:,} bytes, and the next call goes on there"


@contextlib.contextmanager
def _progress(description: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """One line, and below it a bar on a terminal; on stderr, which leaves stdout to results."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    size = "" if total is None else f" ({total / 1e6:.0f} MB)"
    print(f"{description}{size}", file=sys.stderr, flush=True)
    console = Console(stderr=True)
    columns = BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total, completed=start)
        yield lambda done: progress.update(task, completed=done)
