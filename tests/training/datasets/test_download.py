from __future__ import annotations

import errno
import fcntl
import hashlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.datasets.download import DownloadError, fetch

CONTENT = np.random.default_rng(0).bytes(600_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "file.bin"


@pytest.fixture
def url(server: Any) -> str:
    server.files["file.bin"] = CONTENT
    return f"{server.url}file.bin"


def get(url: str, target: Path, *, md5: str = MD5, patience: float = 5.0, stall: float = 5.0) -> None:
    fetch(url, target, md5=md5, patience=patience, stall=stall)


def left(target: Path) -> list[str]:
    return [entry.name for entry in target.parent.iterdir()] if target.parent.is_dir() else []


def test_whole_file(url: str, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    get(url, target)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.bin"]
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"downloading {url} to {target.parent} (1 MB)\n")


def test_interrupted_download_is_resumed(server: Any, url: str, target: Path) -> None:
    server.send_only = 400_000
    with pytest.raises(DownloadError, match=r"ended early \(200,000 bytes are missing\).*keeps 400,000 bytes"):
        get(url, target)
    assert left(target) == ["file.bin.part"]
    server.send_only = None
    get(url, target)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.bin"]
    assert server.ranges == [None, "bytes=400000-"]


def test_stalled_download_is_given_up_and_resumed(server: Any, url: str, target: Path) -> None:
    server.send_only, server.stall = 400_000, 3.0
    began = time.monotonic()
    with pytest.raises(DownloadError, match=r"ended early \(timed out\).*keeps 400,000 bytes, and the next"):
        get(url, target, stall=0.2)
    assert time.monotonic() - began < 2
    server.send_only, server.stall = None, 0.0
    get(url, target)
    assert target.read_bytes() == CONTENT


def test_server_that_ignores_ranges_sends_all_again(server: Any, url: str, target: Path) -> None:
    server.knows_ranges = False
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT[:1000])
    get(url, target)
    assert target.read_bytes() == CONTENT


def test_whole_part_is_taken_as_it_is(server: Any, url: str, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT)
    get(url, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_part_of_another_file_is_removed(url: str, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"other" + CONTENT)
    with pytest.raises(DownloadError, match=f"expected {MD5}; what came was removed"):
        get(url, target)
    assert left(target) == []
    get(url, target)
    assert target.read_bytes() == CONTENT


def test_answer_from_another_place_in_the_file(server: Any, url: str, target: Path) -> None:
    server.content_range = "bytes 7-9/10"
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match=r"does not go on at byte 1000; remove .*file\.bin\.part to start anew"):
        get(url, target)
    assert target.with_name("file.bin.part").read_bytes() == CONTENT[:1000]


def test_wrong_checksum(url: str, target: Path) -> None:
    with pytest.raises(DownloadError, match=f"file.bin has md5 {MD5}, expected 0123; what came was removed"):
        get(url, target, md5="0123")
    assert left(target) == []


def test_no_such_file(server: Any, target: Path) -> None:
    with pytest.raises(DownloadError, match=r"other\.bin answered 404 Not Found"):
        get(f"{server.url}other.bin", target)
    assert left(target) == []


def test_refused_connection(refusing_url: str, target: Path) -> None:
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 refuses the connection"):
        get(f"{refusing_url}file.bin", target)
    assert left(target) == []


def test_server_that_accepts_and_never_answers(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1 did not answer within 0\.2 s"):
            get(f"http://127.0.0.1:{silent.getsockname()[1]}/file.bin", target, patience=0.2)
    assert time.monotonic() - began < 2


def test_answer_that_is_not_http(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"no web server\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1: no web server"):
            get(f"http://127.0.0.1:{listening.getsockname()[1]}/file.bin", target)
        thread.join()


def test_name_that_cannot_be_resolved(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"no network: the name data\.invalid cannot be resolved"):
        get("https://data.invalid/file.bin", target)


def test_name_server_that_never_answers(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    began = time.monotonic()
    with pytest.raises(DownloadError, match=r"data\.invalid did not answer within 0\.2 s"):
        get("https://data.invalid/file.bin", target, patience=0.2)
    assert time.monotonic() - began < 2
    over.set()


def test_two_processes_do_not_write_one_file(url: str, target: Path) -> None:
    target.parent.mkdir()
    with target.with_name("file.bin.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is downloading it; wait until it is done") as raised:
            get(url, target)
    assert not isinstance(raised.value, DownloadError)


def test_part_that_another_process_has_made_longer(url: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = target.with_name("file.bin.part")
    make_folder = Path.mkdir

    def meanwhile(self: Path, **options: Any) -> None:
        make_folder(self, **options)
        part.write_bytes(b"more")

    monkeypatch.setattr(Path, "mkdir", meanwhile)
    with pytest.raises(ValueError, match="another process is downloading it"):
        get(url, target)
    assert part.read_bytes() == b"more"


def test_folder_that_is_a_file(url: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DownloadError, match="data cannot be written: File exists"):
        get(url, tmp_path / "data" / "file.bin")


def test_read_only_folder(url: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DownloadError, match="data cannot be written: Read-only file system"):
        get(url, target)
