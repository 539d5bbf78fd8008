"""What `python doctor.py` does: looks, says what it found, repairs, and looks again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from searchers.doctor.examine import examine
from searchers.doctor.finding import Aside, Finding
from searchers.doctor.request import DoctorRequest
from searchers.owned_folder import in_use
from searchers.run_folder import RUN_FILE, RunFolder
from searchers.study import JOURNAL
from seqconv import validation

HEALTHY, DAMAGED = 0, 1


def visit(request: DoctorRequest) -> int:
    """Look at a run folder and repair it where that was asked for; returns the exit code.

    Returns:
        0 where nothing is damaged any more, 1 where something is.

    Raises:
        ValueError: a folder that is none of a search, or of a newer release, or a repair while its search is running.
        OSError: it cannot be read or written.
    """
    folder = request.folder
    _check(folder)
    if not request.repair:
        return _look(folder)
    owner = RunFolder(folder)
    try:
        owner.own()
    except ValueError:
        raise ValueError(f"run={folder}: its search is running; repair it once it has ended") from None
    try:
        return _repair(folder)
    finally:
        owner.close()


def _check(folder: Path) -> None:
    if not folder.is_dir():
        near = validation.did_you_mean(folder.name, [path.parent.name for path in folder.parent.glob(f"*/{RUN_FILE}")])
        raise ValueError(f"run={folder}: no such folder{near}; run= takes the folder of a search, such as runs/NAME")
    if not any((folder / name).is_file() for name in (RUN_FILE, JOURNAL)):
        reason = f"neither {RUN_FILE} nor {JOURNAL} is there"
        raise ValueError(f"run={folder}: {reason}; run= takes the folder of a search, such as runs/NAME")


def _look(folder: Path) -> int:
    running = in_use(folder)
    found, rebuilt = examine(folder, running=running)
    _say(folder, found, f"{len(rebuilt.records)} trials, the search is {'' if running else 'not '}running")
    damaged = [finding for finding in found if not finding.harmless]
    if not damaged:
        print("nothing is damaged" + (f"; {_counted(found, 'note')}" if found else ""))
        return HEALTHY
    mendable = any(finding.mend for finding in damaged)
    advice = "" if running else f"; python doctor.py run={folder} repair=true" if mendable else "; put back a copy"
    print(f"{len(damaged)} damaged" + (advice if not running else "; repair it once its search has ended"))
    return DAMAGED


def _repair(folder: Path) -> int:
    found, rebuilt = examine(folder, running=False)
    _say(folder, found, f"{len(rebuilt.records)} trials")
    aside = Aside(folder, f"damaged-{datetime.now():%Y%m%d-%H%M%S}")
    for finding in found:
        if finding.mend is not None:
            finding.mend(aside)
    if aside.path.exists():
        print(f"what was replaced is in {aside.path}")
    left = [finding for finding in examine(folder, running=False)[0] if not finding.harmless]
    for finding in left:
        print(f"still damaged: {finding.where}: {finding.problem}")
    if left:
        return DAMAGED
    mended = any(finding.mend for finding in found)
    print(f"repaired; go on with python search.py run={folder}" if mended else "nothing is damaged")
    return HEALTHY


def _say(folder: Path, found: Sequence[Finding], about: str) -> None:
    print(f"{folder}: {about}")
    for finding in found:
        print(f"{'note' if finding.harmless else 'damaged'}: {finding.where}: {finding.problem}")
        print(f"    lost: {finding.lost}")
        if finding.repair:
            print(f"    repair: {finding.repair}")


def _counted(found: Sequence[Finding], what: str) -> str:
    return f"{len(found)} {what}{'s' * (len(found) > 1)}"
