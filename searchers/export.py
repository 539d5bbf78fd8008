"""Take a trial out of a search as a folder that stands alone: `seqconv.load` needs nothing else of this project."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchers.config import folder_name
from searchers.record import COMPLETED, DUPLICATE, PRUNED, TrialRecord, best_first
from searchers.run_folder import RUN_FILE, read_run, trial_folder
from searchers.study import read_records
from seqconv import Architecture, load, measure, serialization, validation, write_architecture
from seqconv.serialization import ARCHITECTURE_FILE, MODEL_FILE, WEIGHTS_FILE


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """Everything that `python export.py` was told.

    Raises:
        ValueError: a field of the wrong kind, naming it.
    """

    run: str
    """Folder of a search."""
    trial: str | int = "best"
    """best, or the number of a trial."""
    out: str = "exported"
    """Folder to write; must not exist, or be empty."""

    def __post_init__(self) -> None:
        folder_name("run", self.run)
        folder_name("out", self.out)
        try:
            _ = self.trial == "best" or validation.integer("trial", self.trial, low=0)
        except ValueError:
            raise ValueError(f"trial must be best or the number of a trial, got {self.trial!r}") from None


def export_trial(request: ExportRequest) -> list[str]:
    """Write architecture.yaml, model.yaml and, where they were kept, the weights; returns lines for the user.

    Raises:
        ValueError: no search there, none of its trials fits, or the output folder is in use.
        OSError: the output cannot be written; it is then not there at all.
    """
    run, out = Path(request.run).expanduser(), Path(request.out).expanduser()
    if not (run / RUN_FILE).is_file():
        raise ValueError(f"run={run}: no search there ({RUN_FILE} is missing); run= takes a folder such as runs/NAME")
    description = read_run(run)
    record = _pick(read_records(run), request.trial, run)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out={out}: is there already; pass another out=, or an empty folder")
    weights = trial_folder(run, record.number) / WEIGHTS_FILE
    model = _describe(record, description, run, weights.is_file())
    try:
        _write(out, Architecture.from_dict(record.facts["architecture"]), model, weights)
    except OSError as error:
        raise OSError(f"out={out}: cannot be written: {error.strerror or error}") from None
    return _say(record, model, out)


def _write(out: Path, architecture: Architecture, model: Mapping[str, Any], weights: Path) -> None:
    """All of it or nothing: the folder is renamed once it can be loaded."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        write_architecture(architecture, folder / ARCHITECTURE_FILE)
        (folder / MODEL_FILE).write_text(serialization.to_yaml(model), encoding="utf-8")
        if model["weights"]:
            shutil.copyfile(weights, folder / WEIGHTS_FILE)
        try:
            load(folder)
        except ValueError as error:
            raise ValueError(str(error).replace(str(folder), str(weights.parent))) from None
        folder.replace(out)


def _describe(record: TrialRecord, run: Mapping[str, Any], folder: Path, has_weights: bool) -> dict[str, Any]:
    known = ("name", "classes", "resolution", "class_names", "mean", "std")
    dataset = validation.has_keys(f"{folder / RUN_FILE}: dataset", run["dataset"], known)
    return {
        "schema": serialization.MODEL_SCHEMA,
        "version": serialization.MODEL_VERSION,
        "classes": dataset["classes"],
        "weights": WEIGHTS_FILE if has_weights else None,
        "resolution": dataset["resolution"],
        "class_names": dataset["class_names"],
        "mean": dataset["mean"],
        "std": dataset["std"],
        "dataset": dataset["name"],
        "search": folder.resolve().name,
        "trial": record.number,
        "validation_error": record.error,
        "epochs": record.epochs,
        "recipe": run["trial"],
    }


def _pick(records: list[TrialRecord], trial: str | int, run: Path) -> TrialRecord:
    ranked = best_first(records)
    if isinstance(trial, str):
        if not ranked:
            raise ValueError(f"run={run}: no trial has finished yet, so there is no best one")
        return ranked[0]
    record = next((r for r in records if r.number == trial), None)
    if record is not None and record.outcome == DUPLICATE:
        return _pick(records, record.facts["duplicate_of"], run)
    if record is not None and record.outcome in (COMPLETED, PRUNED):
        return record
    nearest = ", ".join(str(r.number) for r in sorted(ranked, key=lambda r: abs(r.number - trial))[:8]) or "none"
    problem = f"there is no trial {trial}" if record is None else f"trial {trial} is {record.outcome}"
    raise ValueError(f"run={run}: {problem}; the nearest finished ones are {nearest}")


def _say(record: TrialRecord, model: Mapping[str, Any], out: Path) -> list[str]:
    architecture = Architecture.from_dict(record.facts["architecture"])
    cost = measure(architecture, resolution=model["resolution"], classes=model["classes"])
    why = "it was stopped early" if record.outcome == PRUNED else "they were not kept (keep_weights)"
    return [
        f"trial {record.number}: {architecture.describe()}",
        f"validation error {record.error:.4f} after {record.epochs} epochs on {model['dataset']}, "
        f"{cost.params:,} params, {cost.macs:,} MACs at {model['resolution']} px",
        f"written to {out}, " + ("with weights" if model["weights"] else f"without weights: {why}"),
        f"next: python -c \"import seqconv; model = seqconv.load('{out}')\"",
    ]
