"""A web server on the loopback interface that can fail in the ways that servers fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Server(ThreadingHTTPServer):
    """Serves `files`; a test sets how it misbehaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        """The Range header of each request."""
        self.send_only: int | None = None
        """Bytes of a body after which the connection is closed."""
        self.stall = 0.0
        """Seconds of silence before the connection is closed."""
        self.content_range: str | None = None
        """Content-Range that is claimed."""
        self.knows_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.ranges.append(wanted)
        content = self.server.files.get(self.path.lstrip("/"))
        if content is None:
            return self.send_error(404)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.knows_ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            claimed = self.server.content_range or f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", claimed)
        self.end_headers()
        end = None if self.server.send_only is None else start + self.server.send_only
        self.wfile.write(content[start:end])
        self.wfile.flush()
        time.sleep(self.server.stall)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def refusing_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where nothing listens."""
    monkeypatch.setenv("no_proxy", "*")
    with Server() as closed:
        return closed.url


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())
