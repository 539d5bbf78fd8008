"""Run folders as a search leaves them, made without training: the journal by a session, the files of trials by hand."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search_spaces.space import SearchSpace
from searchers import results
from searchers.record import RUNNING, TrialRecord
from searchers.run_folder import RunFolder
from searchers.session import Session
from searchers.study import JOURNAL, read_records
from searchers.tracking.ledger import FINISH, LOG, START, Ledger
from seqconv import Architecture, measure
from seqconv.networks.build import build
from tests.searchers.fakes import session, space
from tests.searchers.runtime import Crash, learn, proposed
from training import checkpoint
from training.checkpoint import Checkpoint

EPOCHS, TRIALS = 2, 6
SPACE = space()
DATASET = {"name": "digits", "resolution": 16, "classes": 10}
COST = functools.partial(measure, resolution=16, classes=10)
OPEN, PRUNED_AT = 5, 2


class Told:
    """A tracker that tells the ledger of W&B alone."""

    def __init__(self, folder: Path) -> None:
        (folder / "wandb").mkdir(exist_ok=True)
        self._ledger = Ledger(folder / "wandb" / "trials.jsonl")

    def start(self, number: int, config: Mapping[str, Any]) -> None:
        self._ledger.append(START, number, {"config": dict(config)})

    def log(self, number: int, metrics: Mapping[str, Any]) -> None:
        self._ledger.append(LOG, number, {"metrics": dict(metrics)})

    def finish(self, number: int, summary: Mapping[str, Any]) -> None:
        self._ledger.append(FINISH, number, {"summary": dict(summary)})

    def close(self) -> list[str]:
        return []


def identity(of: SearchSpace = SPACE, **changes: Any) -> dict[str, Any]:
    about = {"dataset": DATASET, "trial": {"epochs": EPOCHS, "width": None}, "objective": ["error"], "limits": {}}
    return {"search_space": of.to_dict(), **about, "seed": 0, **changes}


def begun(path: Path, of: SearchSpace = SPACE, *, told: bool = True, **changes: Any) -> tuple[RunFolder, Session]:
    """A search in a folder of its own, begun or gone on with."""
    folder = RunFolder(path)
    about = {name: changes.pop(name) for name in ("objective", "limits") if name in changes}
    folder.open(identity(of, **about), {"config": {"trials": TRIALS}, "environment": {"python": "3.11"}})
    changes |= {"objectives": about["objective"]} if "objective" in about else {}
    changes |= {"limits": about["limits"]} if "limits" in about else {}
    settings = {
        "trials": TRIALS,
        "begin": folder.begin_trial,
        "measure": COST,
        "about": {"dataset": "digits"},
        **changes,
    }
    return folder, session(path, of, **({"tracker": Told(path)} if told else {}), **settings)


def train(folder: RunFolder, search: Session, architecture: Architecture, number: int, epochs: int = EPOCHS) -> None:
    """The epochs of a trial with the files that they leave."""
    rows = [{"epoch": e, "train_loss": 1.0 / e, "validation_error": x, "seconds": 0.5}
            for e, x in enumerate(learn(search, number)[:epochs], start=1)]  # fmt: skip
    for epoch in range(1, epochs + 1):
        checkpoint.save_metrics(folder.trial(number), rows[:epoch])
        done = epoch == EPOCHS
        if done:
            checkpoint.save_weights(folder.trial(number), build(architecture, classes=10).state_dict())
        whose = {"architecture": architecture.fingerprint(), "seed": 0}
        saved = Checkpoint(identity=whose, history=rows[:epoch], state=None if done else {"step": epoch})
        checkpoint.save(folder.trial(number), saved)
        search.on_epoch(number, rows[epoch - 1])


def go_on(folder: RunFolder, search: Session) -> list[TrialRecord]:
    """Train until nothing is due: trial 1 fails, trial 2 is pruned after its first epoch."""
    while (assignment := search.propose()) is not None:
        number = assignment.number
        if number == 1:
            search.on_end(number, failure=f"Traceback\n{Crash('out of luck')!r}\n")
        else:
            train(folder, search, assignment.architecture, number, epochs=1 if number == PRUNED_AT else EPOCHS)
            search.on_end(number)
    return search.store.records()


def conclude(folder: RunFolder, records: list[TrialRecord], objectives: tuple[str, ...] = ("error",)) -> None:
    """What a search writes at its end."""
    results.write_tables(folder, records)
    results.write_best(folder, records)
    if len(objectives) > 1:
        results.write_front(folder, records, objectives)
    folder.close()


def ended(path: Path, **changes: Any) -> Path:
    """A folder of a search that has ended."""
    folder, search = begun(path, **changes)
    conclude(folder, go_on(folder, search), tuple(changes.get("objective", ("error",))))
    return path


def killed(path: Path) -> Path:
    """A folder of a search that was killed in its last trial, after the first epoch of it."""
    folder, search = begun(path, trials=TRIALS - 1)
    records = go_on(folder, search)
    conclude(folder, records)
    folder, search = begun(path)
    assignment = proposed(search)
    train(folder, search, assignment.architecture, assignment.number, epochs=1)
    conclude(folder, search.store.records())
    assert read_records(path)[-1].outcome == RUNNING
    return path


def gone_on_with(path: Path, *, trials: int = TRIALS + 2) -> list[TrialRecord]:
    """The records once the search has gone on, with more trials."""
    folder, search = begun(path, trials=trials)
    conclude(folder, go_on(folder, search))
    return read_records(path)


def lines(path: Path) -> list[bytes]:
    return (path / JOURNAL).read_bytes().splitlines(keepends=True)


def change(path: Path, changed: Callable[[list[bytes]], list[bytes]]) -> None:
    """Write the lines of the journal anew."""
    (path / JOURNAL).write_bytes(b"".join(changed(lines(path))))


def unsealed(path: Path) -> None:
    """The journal as earlier releases wrote it: no checksums, no numbers, no schema."""
    entries = [json.loads(line) for line in lines(path)]
    for entry in entries:
        entry.pop("crc")
        entry.get("user_attrs", {}).pop("number", None)
    kept = [entry for entry in entries if "schema" not in entry.get("user_attr", {})]
    (path / JOURNAL).write_text("".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in kept))


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but its lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
