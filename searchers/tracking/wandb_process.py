"""The process that shows a search on W&B: python -m searchers.tracking.wandb_process FOLDER MODE PATIENCE.

It follows the ledger that the search writes until its standard input ends, which is when the search closes it or is
gone, and says in lines of JSON what the search should know. An error ends it. That loses nothing: the next one of its
kind begins with all that W&B does not have yet.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from searchers.tracking.ledger import Reader, Told, take
from searchers.tracking.wandb_folder import WandbFolder

_POLL = 0.1
"""Seconds between two looks at the ledger."""
Say = Callable[..., None]


def main(folder: WandbFolder, mode: str, patience: float) -> int:
    """Show a search; returns the exit code.

    Args:
        folder: of the search.
        mode: online, offline, or auto: online where somebody is logged in.
        patience: seconds that all may take that is left to do when the search ends.
    """
    say = _speaker()
    try:
        with FileLock(folder.path / ".lock", timeout=2 * patience):  # that of a killed search may still be at its work
            _show(folder, mode, patience, say)
    except Exception as error:
        say(warning=" ".join(f"{type(error).__name__}: {error}".split()))
        return 1
    return 0


def _show(folder: WandbFolder, mode: str, patience: float, say: Say) -> None:
    from searchers.tracking.wandb import Runs, prepare, sign_in

    prepare(folder)
    known = folder.known()
    account = sign_in(mode)
    if account is not None:
        known = account.with_sweep(known)
        folder.write(known)
    say(online=account is not None, url=known.sweep_url)
    runs = Runs(folder, known, online=account is not None, patience=patience)
    told: dict[int, Told] = {}
    reader, over = Reader(folder.ledger), False
    settled = folder.settled(sent=account is not None)
    due = {n for n in take(told, reader.read()) if told[n].summary is None or known.run_id(n) not in settled}
    while not over:
        for number in sorted(due):
            runs.show(told[number])
        over = _input_ended()
        if over:
            signal.alarm(math.ceil(patience))
        due = take(told, reader.read())
    for number in sorted(due):
        runs.show(told[number])
    runs.close()


def _input_ended() -> bool:
    """Whether nobody writes to the standard input any more, after a pause where somebody might."""
    readable, _, _ = select.select([sys.stdin], [], [], _POLL)
    return bool(readable)


def _speaker() -> Say:
    """Keeps standard output for what the search is told; what W&B prints goes where errors go."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(**message: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(message), file=lines)

    return say


if __name__ == "__main__":
    code = main(WandbFolder(Path(sys.argv[1])), sys.argv[2], float(sys.argv[3]))
    sys.stderr.flush()
    os._exit(code)  # wandb would wait for the server once more
