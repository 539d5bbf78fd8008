"""The files of one trial, each replaced as a whole: a kill at any moment leaves the old one or the new one.

`metrics.csv` has a row for each epoch, `checkpoint.pt` what is needed to go on, `model.pt` the weights at the end, and
`checkpoint-0004.pt` what another trial may go on from.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from seqconv.files import write_atomically

CHECKPOINT_FILE, METRICS_FILE, WEIGHTS_FILE = "checkpoint.pt", "metrics.csv", "model.pt"
DAMAGED_FILE = f"{CHECKPOINT_FILE}.damaged"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trial after a whole number of epochs."""

    identity: dict[str, Any]
    """What the state belongs to, as flat plain values: architecture, recipe, data, seed."""
    history: list[dict[str, Any]]
    """Metrics of every finished epoch, oldest first."""
    state: dict[str, Any] | None
    """State of network, optimizer and schedule; None once the last epoch is done."""


def load(folder: Path, identity: Mapping[str, Any]) -> Checkpoint | None:
    """The checkpoint in `folder`, or None where there is none or its file is damaged: that is logged, and the file kept
    under another name.

    Raises:
        ValueError: the checkpoint of another trial, naming what differs.
        OSError: a file that cannot be read.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        checkpoint = _read(path)
    except _Damaged as error:
        path.replace(path.with_name(DAMAGED_FILE))
        _LOG.warning("%s is damaged, training starts from scratch, it is now %s: %s", path, DAMAGED_FILE, error)
        return None
    _check_identity(path, checkpoint.identity, identity)
    return checkpoint


def kept(folder: Path, epoch: int) -> Path:
    """Where the checkpoint of an epoch is that others go on from."""
    return folder / f"checkpoint-{epoch:04d}.pt"


def remove_kept(trials: Path) -> None:
    """Delete what `keep` saved in the folders of all trials, of which `trials` is the parent."""
    for path in trials.glob("*/checkpoint-*.pt"):
        path.unlink(missing_ok=True)


def load_kept(path: Path, identity: Mapping[str, Any], free: Collection[str]) -> Checkpoint:
    """The checkpoint of another trial, to go on from.

    Args:
        path: what `kept` named.
        identity: of the trial that goes on.
        free: names of the identity that may differ.

    Raises:
        ValueError: a file that is missing, damaged, or of a trial that differs in more than that.
        OSError: a file that cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there, and this trial goes on from it")
    try:
        checkpoint = _read(path)
    except _Damaged as error:
        raise ValueError(f"{path} is damaged, and this trial goes on from it: {error}") from None
    theirs, ours = ({k: v for k, v in names.items() if k not in free} for names in (checkpoint.identity, identity))
    _check_identity(path, theirs, ours)
    return checkpoint


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in `folder`."""
    _save(folder / CHECKPOINT_FILE, checkpoint)


def keep(folder: Path, checkpoint: Checkpoint, epoch: int) -> None:
    """Save a checkpoint for others to go on from, beside the one in `folder`."""
    _save(kept(folder, epoch), checkpoint)


def save_weights(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Replace the weights in `folder`: a state_dict on the CPU, without pickled code."""
    _save_tensors(folder / WEIGHTS_FILE, {name: tensor.cpu() for name, tensor in weights.items()})


def save_metrics(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Replace the table of metrics in `folder`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(folder / METRICS_FILE, text.getvalue().encode())


class _Damaged(Exception):
    """A file that is no checkpoint, with the first line of why."""


def _read(path: Path) -> Checkpoint:
    content = path.read_bytes()
    try:
        return Checkpoint(**torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except Exception as error:  # what torch raises depends on which bytes are damaged
        raise _Damaged((str(error).strip() or type(error).__name__).splitlines()[0]) from None


def _save(path: Path, checkpoint: Checkpoint) -> None:
    _save_tensors(path, {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)})


def _save_tensors(path: Path, data: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(data, buffer)
    write_atomically(path, buffer.getvalue())


def _check_identity(path: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    names = [name for name in {**asked, **found} if found.get(name) != asked.get(name)]
    if names:
        differences = "; ".join(f"{n} is {found.get(n)!r} there and {asked.get(n)!r} here" for n in names)
        raise ValueError(f"{path} belongs to another trial: {differences}. Use another folder, or delete the file")
