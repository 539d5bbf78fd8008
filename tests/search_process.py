"""Searches as a user runs them, in a process of their own and small enough for a test, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from searchers.record import TrialRecord
from searchers.study import read_records

ROOT = Path(__file__).parents[1]
SMALL = (
    "dataset=digits",
    "trial.share=0.15",
    "trial.validation_limit=100",
    "trial.batch_size=32",
    "search_space.widening=1",
    "search_space.stage1.blocks=1",
    "search_space.stage2.blocks=1",
    "search_space.stage3.blocks=1",
    "search_space.stage1.groups=2",
)
"""Epochs of a fraction of a second."""
PATIENCE = 240
"""Seconds after which a search in a test counts as hung."""
UNSHARE = ("unshare", "--mount", *(() if os.getuid() == 0 else ("--user", "--map-root-user")))
"""Runs a command whose mounts no other process sees."""


class Search:
    """A running command, such as `search.py trials=3`, and the processes that it started.

    Args:
        command: what follows `python`, an entry script first.
        cwd: where it runs.
        environment: variables to set.
    """

    def __init__(
        self, command: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self._ended: tuple[int, str, str] | None = None
        self._stderr: str | None = None
        self.scratch = Path(tempfile.mkdtemp(prefix="seqconv-test-"))
        self._stdout = self.scratch / "stdout.txt"  # which others can read meanwhile
        with self._stdout.open("wb") as stdout:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=cwd,
                env=clean_environment() | {"TMPDIR": str(self.scratch)} | dict(environment or {}),
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *_: object) -> None:
        kill_all(self._process.pid)
        self._errors(None)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, once it has ended."""
        if self._ended is None:
            stderr = self._errors(PATIENCE)
            self._ended = self._process.returncode, self._stdout.read_text(), stderr
        return self._ended

    def _errors(self, patience: float | None) -> str:
        """Stderr, once nobody can write to it any more."""
        if self._stderr is None:
            self._stderr = self._process.communicate(timeout=patience)[1]
        return self._stderr

    def succeed(self) -> str:
        """Stdout of a search that must end well and have nothing to complain of."""
        code, stdout, stderr = self.end()
        assert (code, stderr) == (0, ""), stdout + stderr
        return stdout

    def hear(self, words: str) -> None:
        """Wait until it has said this on stdout; it must be running then."""
        deadline = time.monotonic() + PATIENCE
        while words not in (said := self._stdout.read_text()):
            assert time.monotonic() < deadline and self._process.poll() is None, f"never said {words!r}: {said}"
            time.sleep(0.02)

    def wait(self, run: Path, until: Callable[[list[TrialRecord]], bool]) -> list[TrialRecord]:
        """The records of its run folder once they are as wanted; it must be running then."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            if until(found := records(run)):
                return found
            time.sleep(0.02)
        raise AssertionError(f"ended or hung before it came to that: {self._process.poll()} {records(run)}")

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the driver, or to its process group as a terminal does."""
        (os.killpg if group else os.kill)(self._process.pid, number)

    def kill(self) -> None:
        """kill -9 of the driver alone."""
        self.signal(signal.SIGKILL)
        self._errors(None)

    def processes(self) -> dict[int, str]:
        """Pid and command of all that it started and that still run, itself included."""
        return session(self._process.pid)

    def workers(self) -> list[int]:
        """Pids of the worker processes that train."""
        return [pid for pid, command in self.processes().items() if command.startswith("ray::ImplicitFunc")]

    def leftovers(self) -> list[str]:
        """Processes, and folders for temporary files of ours, that are still there."""
        return [*self.processes().values(), *(str(path) for path in self.scratch.glob("seqconv-*"))]


def clean_environment() -> dict[str, str]:
    """The environment of a user who has set nothing of Ray or ours, with the tests' Python first in the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_SILENT"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    # Ray's workers are nice to others by default, which on a busy machine makes them wait for ever.
    return kept | {"PATH": path, "RAY_worker_niceness": "0"}


def session(leader: int) -> dict[int, str]:
    """Pid and command of the processes in the session that this process leads or led, but zombies."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _parent, _group, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(of) == leader and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode().replace("\0", " ").strip()
    return found


def kill_all(leader: int) -> None:
    """kill -9 of a session."""
    for pid in session(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def search(
    *settings: str, tracker: str = "none", cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> Search:
    """`python search.py` with small settings and these."""
    page = [] if any(setting.startswith("report=") for setting in settings) else ["report=false"]  # it takes seconds
    command = [str(ROOT / "search.py"), *SMALL, f"tracker={tracker}", *page, *settings]
    return Search(command, cwd=cwd, environment=environment)


def printed_command(line: str, *, cwd: Path = ROOT) -> Search:
    """A command as it was printed for the user to copy, run where the one was that printed it."""
    python, *command = shlex.split(line)
    assert python == "python"
    return Search(command, cwd=cwd)


def records(run: Path) -> list[TrialRecord]:
    """What stands in the store of a run; nothing while there is none."""
    try:
        return read_records(run)
    except ValueError:
        return []


def under_way(finished: int, epochs: int = 1) -> Callable[[list[TrialRecord]], bool]:
    """So many trials have ended, and another one has trained for some epochs."""

    def reached(found: list[TrialRecord]) -> bool:
        running = [record for record in found if record.outcome == "running"]
        return len(found) - len(running) >= finished and any(record.epochs >= epochs for record in running)

    return reached


def timeless(record: TrialRecord) -> dict[str, object]:
    """A record without when and how fast it was."""
    of_time = ("started", "finished", "seconds", "waited", "tracked")
    facts = {name: value for name, value in record.facts.items() if name not in of_time}
    return {
        "number": record.number,
        "outcome": record.outcome,
        "values": dict(record.values),
        "errors": dict(record.errors),
        "facts": facts,
    }


def metrics_files(run: Path, of: Sequence[TrialRecord]) -> dict[int, tuple[int, bytes]]:
    """Time of the last change and content of metrics.csv, by trial."""
    files = {record.number: run / "trials" / f"{record.number:04d}" / "metrics.csv" for record in of}
    return {number: (file.stat().st_mtime_ns, file.read_bytes()) for number, file in files.items() if file.is_file()}


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def ray_cluster(cpus: int = 2) -> Iterator[str]:
    """Address of a Ray cluster of several processes on this machine."""
    port = free_port()
    with ray_node("--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false"):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def ray_node(*start: str, hides: Sequence[Path] = ()) -> Iterator[int]:
    """A node of a Ray cluster on this machine, as the session that its processes are of.

    Args:
        start: arguments of `ray start`.
        hides: folders that are empty on this node, which takes leave to make mounts.
    """
    folder = Path(tempfile.mkdtemp(prefix="seqconv-ray-"))
    command = [str(Path(sys.executable).parent / "ray"), "start", *start, f"--temp-dir={folder}"]
    command.append("--disable-usage-stats")
    if hides:
        mounts = "".join(f"mount -t tmpfs none {shlex.quote(str(folder))} && " for folder in hides)
        command = [*UNSHARE, "sh", "-c", mounts + shlex.join(command)]
    # What a node finds by itself, such as the trials that tests make up; what is sent to it comes first.
    environment = clean_environment() | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    starter = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert starter.wait(PATIENCE) == 0, shlex.join(command)
        yield starter.pid
        leave(starter.pid)
    finally:
        kill_all(starter.pid)
        shutil.rmtree(folder, ignore_errors=True)


def raylet(node: int) -> int | None:
    """Pid of the process that is the node of this session."""
    return next((pid for pid, command in session(node).items() if "/raylet/raylet " in command), None)


def leave(node: int) -> None:
    """Have a node leave its cluster, which would notice the loss only after some time."""
    if (pid := raylet(node)) is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while raylet(node) is not None and time.monotonic() < deadline:
        time.sleep(0.1)


def can_hide() -> bool:
    """Whether this process has leave to make mounts that others do not see."""
    return subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
