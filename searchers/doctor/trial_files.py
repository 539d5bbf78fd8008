"""Looks at the files of single trials: whether each can be read, and is of the trial that the journal has there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from searchers.doctor.description import Description
from searchers.doctor.finding import Aside, Finding, by_moving, first_line
from searchers.doctor.witness import metrics
from searchers.record import COMPLETED, DRIVER, DUPLICATE, PRUNED, REFUSED, RUNNING, TRAINED, TrialRecord
from searchers.run_folder import trial_folder
from seqconv import Architecture, read_architecture, write_architecture
from seqconv.networks.build import build
from training import checkpoint
from training.checkpoint import CHECKPOINT_FILE, METRICS_FILE, WEIGHTS_FILE, Checkpoint

_ARCHITECTURE = "architecture.yaml"


def look(folder: Path, records: Sequence[TrialRecord], description: Description, *, running: bool) -> Iterator[Finding]:
    """What is wrong with the files of trials.

    Args:
        folder: of the run.
        records: its trials.
        description: of the search.
        running: whether the search goes on meanwhile, so that trials begin and epochs end.
    """
    for record in records:
        elsewhere = DRIVER in record.facts and not trial_folder(folder, record.number).is_dir()
        if record.fingerprint and record.outcome not in (DUPLICATE, REFUSED) and not elsewhere:
            yield from _of_trial(folder, record, description, running=running)
    if not running:
        yield from _orphans(folder, len(records))


def _orphans(folder: Path, trials: int) -> Iterator[Finding]:
    for path in sorted((folder / "trials").glob("*")):
        if not path.name.isdecimal() or int(path.name) >= trials:
            yield Finding(
                where=f"trials/{path.name}",
                problem="no trial of the journal has this folder",
                lost="nothing of the search: what it holds is of no trial",
                repair="is set aside",
                mend=by_moving(path),
                harmless=not path.name.isdecimal(),
            )


def _of_trial(folder: Path, record: TrialRecord, description: Description, *, running: bool) -> Iterator[Finding]:
    own = trial_folder(folder, record.number)
    found = [_architecture(own, record), _checkpoint(own, record), _weights(own, record, description)]
    if record.outcome in TRAINED and not (running and record.outcome == RUNNING):
        found.append(_metrics(own, record))
    yield from (finding for finding in found if finding is not None)


def _architecture(own: Path, record: TrialRecord) -> Finding | None:
    path = own / _ARCHITECTURE
    problem = "is missing"
    if path.is_file():
        try:
            if read_architecture(path).fingerprint() == record.fingerprint:
                return None
            problem = "is of another trial than the journal has here"
        except (OSError, ValueError) as error:
            problem = f"cannot be read: {first_line(error)}"

    def mend(aside: Aside) -> None:
        if path.is_file():
            aside.move(path)
        own.mkdir(parents=True, exist_ok=True)
        write_architecture(Architecture.from_dict(record.facts["architecture"]), path)

    return Finding(
        where=_name(own, _ARCHITECTURE),
        problem=problem,
        lost="nothing: the journal has the architecture",
        repair="is written from the journal",
        mend=mend,
        harmless=record.outcome == RUNNING and not path.is_file(),
    )


def _checkpoint(own: Path, record: TrialRecord) -> Finding | None:
    try:
        found = _read_checkpoint(own)
        if found is None or found.identity["architecture"] == record.fingerprint:
            return None
        problem = "is of another architecture"
    except Exception as error:  # what torch raises depends on which bytes are damaged
        problem = f"cannot be read: {first_line(error)}"
    open_still = record.outcome == RUNNING
    return Finding(
        where=_name(own, CHECKPOINT_FILE),
        problem=problem,
        lost="the state of the open trial, whose epochs are trained again"
        if open_still
        else "nothing: the trial ended",
        repair="is set aside",
        mend=by_moving(own / CHECKPOINT_FILE),
    )


def _weights(own: Path, record: TrialRecord, description: Description) -> Finding | None:
    path = own / WEIGHTS_FILE
    try:
        shapes = {name: tuple(value.shape) for name, value in _load(path).items()}
        if description.width is not None or shapes == _shapes(record, description):
            return None
        problem = "holds the weights of another architecture"
    except FileNotFoundError:
        return None
    except Exception as error:  # as above
        problem = f"cannot be read: {first_line(error)}"
    return Finding(
        where=_name(own, WEIGHTS_FILE),
        problem=problem,
        lost="the trained weights; the result of the trial is in the journal",
        repair="is set aside; export.py and promote.py do without it",
        mend=by_moving(path),
    )


def _metrics(own: Path, record: TrialRecord) -> Finding | None:
    path = own / METRICS_FILE
    found = metrics(path, record.begun)
    if found is None:
        if not record.errors and not path.is_file():
            return None  # failed before its first epoch
        return _unreadable_metrics(path, record)
    noted = dict(record.errors)
    shared = found.keys() & noted.keys()
    same = all(found[epoch] == noted[epoch] for epoch in shared)
    if same and (shared == noted.keys() or record.outcome not in (COMPLETED, PRUNED)):
        return None
    return Finding(
        where=_name(own, METRICS_FILE),
        problem="has other epochs or errors than the journal",
        lost="nothing: the journal counts; a trial that started again on a GPU may come to other errors",
        harmless=True,
    )


def _unreadable_metrics(path: Path, record: TrialRecord) -> Finding:
    try:
        saved = _read_checkpoint(path.parent)
        history: Sequence[Mapping[str, Any]] = saved.history if saved else []
    except Exception:  # the checkpoint has a finding of its own
        history = []
    whole = [row for row in history if row["epoch"] in record.errors]
    complete = len(whole) == len(record.errors)
    rows = whole if complete else [{"epoch": e, "validation_error": x} for e, x in record.errors.items()]

    def mend(aside: Aside) -> None:
        if path.is_file():
            aside.move(path)
        if rows:
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save_metrics(path.parent, rows)

    return Finding(
        where=_name(path.parent, METRICS_FILE),
        problem="cannot be read" if path.is_file() else "is missing",
        lost="nothing: the checkpoint has it all" if complete else "its losses and times; the journal has its errors",
        repair=f"is written from the {'checkpoint' if complete else 'journal'}",
        mend=mend,
    )


def _read_checkpoint(own: Path) -> Checkpoint | None:
    try:
        return Checkpoint(**_load(own / CHECKPOINT_FILE))
    except FileNotFoundError:
        return None


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _shapes(record: TrialRecord, description: Description) -> dict[str, tuple[int, ...]]:
    architecture = Architecture.from_dict(record.facts["architecture"])
    with torch.device("meta"):
        model = build(architecture, classes=description.dataset["classes"])
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _name(own: Path, file: str) -> str:
    return f"trials/{own.name}/{file}"
