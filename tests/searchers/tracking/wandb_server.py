"""A W&B server in a thread: what the client asks at init, log, finish and for a sweep, and what it was sent."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

OK, REFUSE, FORBID, HANG = "ok", "refuse", "forbid", "hang"
"""Answer everything, nothing (status 500), all but the data of runs (status 403), or leave everybody waiting."""
ENTITY = "someone"


@dataclass
class SentRun:
    """What the server has of a run."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    display_name: str | None = None
    project: str | None = None
    sweep: str | None = None
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Rows by their number in the file of the run's history."""
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history without what W&B adds, in the order that the page has it."""
        return [{k: v for k, v in self.history[i].items() if not k.startswith("_")} for i in sorted(self.history)]

    @property
    def steps(self) -> list[int]:
        return [self.history[i]["_step"] for i in sorted(self.history)]


class WandbServer:
    """Listens on a free port from `with` on; `behaviour` may be changed at any time."""

    def __init__(self) -> None:
        self.behaviour = OK
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, SentRun] = {}
        self.upserts: list[Mapping[str, Any]] = []
        """Variables of every request that makes or changes a run, in order."""
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> WandbServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if server.behaviour == HANG:
                    server._released.wait()
                elif server.behaviour == REFUSE:
                    self._answer(500, {})
                elif server.behaviour == FORBID and self.path.endswith("/file_stream"):
                    self._answer(403, {"error": "the storage is used up"})
                else:
                    self._answer(200, server._answer(self.path, body))

            do_PUT = do_GET = do_POST

            def _answer(self, code: int, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler

    def _answer(self, path: str, body: bytes) -> Any:
        with self._lock:
            if path == "/graphql":
                request = json.loads(body)
                known: dict[str, Callable[[Mapping[str, Any]], Any]] = {
                    "upsertSweep": self._upsert_sweep,
                    "upsertBucket": self._upsert_run,
                    "query RunResumeStatus": self._resume_status,
                    "createRunFiles": self._create_files,
                    "viewer": lambda _: {"viewer": {"id": "1", "entity": ENTITY, "username": ENTITY, "flags": "{}"}},
                }
                answers = [answer for word, answer in known.items() if word in request["query"]]
                return {"data": answers[0](request.get("variables") or {}) if answers else {}}
            if path.endswith("/file_stream"):
                self._stream(path.split("/")[-2], json.loads(body))
            return {}

    def _upsert_sweep(self, variables: Mapping[str, Any]) -> Any:
        name = f"sweep{len(self.sweeps):03d}"
        self.sweeps[name] = {"project": variables["project"], **yaml.safe_load(variables["config"])}
        place = {"name": variables["project"], "entity": {"name": variables["entity"] or ENTITY}}
        return {"upsertSweep": {"sweep": {"name": name, "project": place}}}

    def _upsert_run(self, variables: Mapping[str, Any]) -> Any:
        self.upserts.append(variables)
        run = self.runs.setdefault(variables["name"], SentRun(variables["name"]))
        run.config |= json.loads(variables.get("config") or "{}")
        run.project = variables.get("project") or run.project
        run.group = variables.get("groupName") or variables.get("group") or run.group
        run.display_name = variables.get("displayName") or run.display_name
        run.sweep = variables.get("sweep") or run.sweep
        place = {"id": "2", "name": run.project, "entity": {"id": "3", "name": ENTITY}}
        names = {"id": f"id-{run.name}", "name": run.name, "displayName": run.display_name, "sweepName": run.sweep}
        return {"upsertBucket": {"bucket": {**names, "project": place, "historyLineCount": len(run.history)}}}

    def _create_files(self, variables: Mapping[str, Any]) -> Any:
        files = [{"name": name, "uploadUrl": f"{self.address}/upload/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}

    def _resume_status(self, variables: Mapping[str, Any]) -> Any:
        run = self.runs.get(variables["name"])
        if run is None:
            return {"model": None}
        tail = [json.dumps(run.history[max(run.history)])] if run.history else []
        bucket = {
            "id": f"id-{run.name}", "name": run.name, "displayName": run.display_name, "tags": [], "notes": None,
            "config": json.dumps(run.config), "summaryMetrics": json.dumps(run.summary),
            "wandbConfig": json.dumps({"t": 1}) if run.config else "{}",
            "historyLineCount": len(run.history), "historyTail": json.dumps(tail),
            "logLineCount": 0, "eventsLineCount": 0, "eventsTail": "[]",
        }  # fmt: skip
        return {"model": {"id": "2", "name": run.project, "entity": {"id": "3", "name": ENTITY}, "bucket": bucket}}

    def _stream(self, name: str, sent: Mapping[str, Any]) -> None:
        run = self.runs[name]
        history = (sent.get("files") or {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
        for i, line in enumerate(history["content"], start=history["offset"]):
            run.history[i] = json.loads(line)
        for line in (sent.get("files") or {}).get("wandb-summary.json", {}).get("content", []):
            run.summary = json.loads(line)
        if sent.get("complete"):
            run.exit_code = sent.get("exitcode")
