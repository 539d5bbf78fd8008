"""The folder of one promotion: what stands where, who may write, and whether it belongs to this command.

    promote.yaml          what makes the promotion this one: choice, stages; and the candidates that were chosen
    config.yaml           the resolved configuration of the last command
    environment.yaml      versions, device, commit
    results.csv           one row a training
    summary.csv           one row a candidate and stage: mean and standard deviation over the seeds
    transfer.csv/.png     how well the ranking of the search, and of each stage, held
    best.yaml             the best of the last stage; there once everything is done
    candidates/trial-0007/architecture.yaml          as it was chosen; not for models of timm
    candidates/trial-0007/cifar/architecture.yaml    as the stage trains it
    candidates/trial-0007/cifar/seed-0/              metrics.csv, log.txt, checkpoint.pt, model.safetensors, result.yaml

Tables can be made anew from candidates/ at any time.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from promotion.candidates import Candidate
from searchers.run_folder import check_writable, differences, write_atomically
from seqconv import Architecture, validation, write_architecture
from seqconv.architecture import check_schema
from seqconv.serialization import ARCHITECTURE_FILE, read_yaml, to_yaml

PROMOTION_FILE, BEST_FILE = "promote.yaml", "best.yaml"
SCHEMA = "seqconv.promotion"
VERSION = 1
ROOT = Path("promotions")
_HEAD = ("schema", "version", "id")
_IDENTITY = ("choice", "stages", "processes")


class PromotionFolder:
    """A folder that this process alone writes to, from `open` until the process ends.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock")

    def open(self, identity: Mapping[str, Any], candidates: Sequence[Candidate], files: Mapping[str, Any]) -> None:
        """Make the folder or take it over, and write the files (name without .yaml to content) that describe it.

        Raises:
            ValueError: another promotion is running in it, or it belongs to one of another identity.
            OSError: it cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            reason = "another promotion is running in this folder; wait for it or pass another out="
            raise ValueError(f"out={self.path}: {reason}") from None
        if holds_promotion(self.path):
            check_identity(self.path, identity)
        else:
            head = {"schema": SCHEMA, "version": VERSION, "id": uuid.uuid4().hex[:8]}
            chosen = {"candidates": [_to_dict(candidate) for candidate in candidates]}
            write_atomically(self.path / PROMOTION_FILE, to_yaml({**head, **identity, **chosen}))
        for candidate in candidates:
            folder = self.path / "candidates" / candidate.name
            folder.mkdir(parents=True, exist_ok=True)
            if candidate.architecture is not None:
                write_architecture(candidate.architecture, folder / ARCHITECTURE_FILE)
        for name, content in files.items():
            write_atomically(self.path / f"{name}.yaml", to_yaml(content))

    def close(self) -> None:
        """Let another process have it."""
        self._lock.release()

    def stage(self, candidate: str, stage: str) -> Path:
        """Folder of a candidate in a stage."""
        return self.path / "candidates" / candidate / stage

    def seed(self, candidate: str, stage: str, seed: int) -> Path:
        """Folder of a training."""
        return self.stage(candidate, stage) / f"seed-{seed}"


def choose(
    out: str | None, name: str, identity: Mapping[str, Any], candidates: Sequence[Candidate], root: Path = ROOT
) -> tuple[Path, bool]:
    """The folder for a command, and whether a promotion is there to go on with.

    Without `out` that is the newest one of this identity under `root`, unless it is done and the search has since come
    to other candidates; or else a new one that begins with `name`.

    Raises:
        ValueError: out= is no folder of a promotion, or of one of another identity.
        OSError: the folder could not be written.
    """
    if out is not None:
        path = Path(out).expanduser()
        exists = holds_promotion(path)
        if exists:
            check_identity(path, identity)
    else:
        found = _newest(root, identity, candidates)
        exists = found is not None
        path = found or root / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    check_writable("out", path)
    return path, exists


def holds_promotion(path: Path) -> bool:
    """Whether there is one; False where one may begin.

    Raises:
        ValueError: a file, or a folder with something else in it.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"out={path}: is a file; out= takes a folder")
    if (path / PROMOTION_FILE).is_file():
        return True
    # Hidden files are what a promotion leaves that was killed before its first entry.
    if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        raise ValueError(f"out={path}: is not empty and holds no promotion ({PROMOTION_FILE} is missing); "
                         "pass another out=")  # fmt: skip
    return False


def check_identity(path: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder whose promotion differs in what its results depend on.

    Raises:
        ValueError: naming each setting that differs, there and here.
    """
    if differing := differences(_identity(read_promotion(path)), identity):
        advice = f"Pass another out= or the settings of {path / 'config.yaml'}"
        raise ValueError(f"out={path} belongs to another promotion: {differing}. {advice}")


def read_promotion(path: Path) -> Mapping[str, Any]:
    """What stands in the promote.yaml of a folder.

    Raises:
        ValueError: another document than a promotion writes, or one of a newer version.
    """
    where = str(path / PROMOTION_FILE)
    description = read_yaml(path / PROMOTION_FILE)
    check_schema(where, description, SCHEMA, VERSION)
    return validation.has_keys(where, description, (*_HEAD, *_IDENTITY, "candidates"))


def read_candidates(path: Path) -> list[Candidate]:
    """The candidates that a promotion chose when it began.

    Raises:
        ValueError: a promote.yaml that cannot be read.
    """
    return [_from_dict(data) for data in read_promotion(path)["candidates"]]


def _newest(root: Path, identity: Mapping[str, Any], candidates: Sequence[Candidate]) -> Path | None:
    files = sorted(root.glob(f"*/{PROMOTION_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for path in (file.parent for file in files):
        try:
            differing = differences(_identity(read_promotion(path)), identity)
        except ValueError:
            continue
        if not differing:
            done = (path / BEST_FILE).is_file()
            return None if done and _networks(read_candidates(path)) != _networks(candidates) else path
    return None


def _identity(description: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in description.items() if key not in (*_HEAD, "candidates")}


def _networks(candidates: Sequence[Candidate]) -> set[str | None]:
    return {c.timm_name if c.architecture is None else c.architecture.fingerprint() for c in candidates}


def _to_dict(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "architecture": None if candidate.architecture is None else candidate.architecture.to_dict(),
        "timm_name": candidate.timm_name,
        "origin": dict(candidate.origin),
        "proxy_error": candidate.proxy_error,
        "proxy_errors": dict(candidate.proxy_errors),
    }


def _from_dict(data: Mapping[str, Any]) -> Candidate:
    architecture = data["architecture"]
    known = {name: data[name] for name in ("name", "timm_name", "origin", "proxy_error", "proxy_errors")}
    return Candidate(architecture=None if architecture is None else Architecture.from_dict(architecture), **known)
