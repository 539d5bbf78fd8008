"""Send a search that was tracked offline to W&B, with its sweep: python -m searchers.tracking.upload run=runs/NAME.

It sends whatever W&B does not have of the trials that have ended, so it may be called again, and also after a search
that lost its server. What a killed process did not write is made from the ledger.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from searchers.interrupt import INTERRUPTED
from searchers.owned_folder import in_use
from searchers.tracking.ledger import Told, read
from searchers.tracking.wandb_folder import Known, WandbFolder

_WAIT = 120.0
"""Seconds for the process of a search that has ended, which may still be writing what it was told last."""
USAGE = "usage: python -m searchers.tracking.upload run=FOLDER, where FOLDER is that of a search, such as runs/NAME"


def main(arguments: Sequence[str]) -> int:
    """What the command line does; returns the exit code: 0 once W&B has everything, 2 for input that is of no use."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    try:
        if len(arguments) != 1 or not arguments[0].startswith("run=") or not arguments[0].removeprefix("run="):
            raise ValueError(USAGE)
        return upload(Path(arguments[0].removeprefix("run=")).expanduser())
    except ValueError as error:
        return _refuse(str(error), 2)
    except Exception as error:  # W&B's errors have no kind in common
        return _refuse(f"W&B: {type(error).__name__}: {error}", 1)


def upload(run: Path) -> int:
    """Send the search in a run folder; returns 0 where W&B has everything then, else 1.

    Raises:
        ValueError: no search that was tracked with W&B is there, it is running, or another process is sending it.
        Exception: nobody is logged in, or the server cannot be reached or refuses.
    """
    folder = WandbFolder(run)
    known = folder.known()
    if in_use(run):
        raise ValueError(f"run={run}: its search is running; upload it once it has ended")
    try:
        with FileLock(folder.path / ".lock", timeout=_WAIT):
            return _upload(folder, known)
    except Timeout:
        raise ValueError(f"run={run}: another process has been sending it for {_WAIT:g} s; try again later") from None


def _upload(folder: WandbFolder, known: Known) -> int:
    from searchers.tracking.wandb import prepare, sign_in

    trials = read(folder.ledger).values()
    ended = {known.run_id(told.number): told for told in trials if told.summary is not None}
    sent = folder.settled(sent=True)
    due = {run_id: told for run_id, told in ended.items() if run_id not in sent}
    without_sweep = known.sweep is not None and known.sweep_id is None
    if due or (ended and without_sweep):
        prepare(folder)
        account = sign_in("online")
        assert account is not None
        known = account.with_sweep(known)
        folder.write(known)
        if known.sweep is not None:
            account.attach(known, [told.number for told in (ended if without_sweep else due).values()])
        _send(folder, known, due)
        sent = folder.settled(sent=True)
    missing = ended.keys() - sent
    place = known.sweep_url or f"group {known.group} in project {known.project}"
    print(f"W&B has {len(ended) - len(missing)} of {len(ended)} trials that have ended: {place}")
    if still_open := len(trials) - len(ended):
        print(f"{still_open} more were open when the search stopped; they follow once it has gone on")
    return 1 if missing else 0


def _send(folder: WandbFolder, known: Known, due: dict[str, Told]) -> None:
    """Send the folders of these runs, which are made where they are missing or not whole."""
    from searchers.tracking.wandb import REQUEST, Runs, sync

    runs = Runs(folder, known, online=False, patience=6 * REQUEST)
    whole = folder.settled(sent=False)
    for run_id, trial in due.items():
        if run_id not in whole:
            runs.show(trial)
    whole = folder.settled(sent=False)
    if due:
        sync(folder, [whole[run_id] for run_id in due])


def _refuse(message: str, code: int) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
