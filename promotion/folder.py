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

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promotion.candidates import Candidate
from promotion.config import STAGES
from searchers.owned_folder import HEAD, Kind, OwnedFolder, fresh
from searchers.redaction import redacted
from searchers.run_folder import check_writable, differences
from seqconv import Architecture, validation, write_architecture
from seqconv.architecture import check_schema
from seqconv.files import write_atomically
from seqconv.serialization import ARCHITECTURE_FILE, read_yaml, to_yaml

PROMOTION_FILE, BEST_FILE = "promote.yaml", "best.yaml"
SCHEMA = "seqconv.promotion"
VERSION = 1
ROOT = Path("promotions")
_KIND = Kind(name="promotion", setting="out", file=PROMOTION_FILE, schema=SCHEMA, version=VERSION)
_IDENTITY = ("choice", "stages", "processes")


class PromotionFolder(OwnedFolder):
    """A folder that this process alone writes to, from `open` until the process ends.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _KIND)

    def open(self, identity: Mapping[str, Any], candidates: Sequence[Candidate], files: Mapping[str, Any]) -> None:
        """Make the folder or take it over, and write the files (name without .yaml to content) that describe it.

        Passwords and keys in these files are left out.

        Raises:
            ValueError: another promotion is running in it, or it belongs to one of another identity.
            OSError: it cannot be written.
        """
        self.own()
        if _KIND.is_in(self.path):
            check_identity(self.path, identity)
        else:
            chosen = {"candidates": [_to_dict(candidate) for candidate in candidates]}
            write_atomically(self.path / PROMOTION_FILE, to_yaml({**_KIND.head(), **identity, **chosen}))
        for candidate in candidates:
            folder = self.path / "candidates" / candidate.name
            folder.mkdir(parents=True, exist_ok=True)
            if candidate.architecture is not None:
                write_architecture(candidate.architecture, folder / ARCHITECTURE_FILE)
        for name, content in files.items():
            write_atomically(self.path / f"{name}.yaml", to_yaml(redacted(content)))

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
        exists = _KIND.is_in(path)
        if exists:
            check_identity(path, identity)
    else:
        found = _newest(root, identity, candidates)
        exists = found is not None
        path = found or fresh(root, name)
    check_writable("out", path)
    return path, exists


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
    found = validation.has_keys(where, description, (*HEAD, *_IDENTITY, "candidates"))
    validation.exact_keys(f"{where}: stages", found["stages"], (), STAGES)  # they name folders
    return found


def read_candidates(path: Path) -> list[Candidate]:
    """The candidates that a promotion chose when it began.

    Raises:
        ValueError: a promote.yaml that cannot be read.
    """
    return [_from_dict(data) for data in read_promotion(path)["candidates"]]


def _newest(root: Path, identity: Mapping[str, Any], candidates: Sequence[Candidate]) -> Path | None:
    for path in _KIND.newest_first(root):
        try:
            differing = differences(_identity(read_promotion(path)), identity)
        except ValueError:
            continue
        if not differing:
            done = (path / BEST_FILE).is_file()
            return None if done and _networks(read_candidates(path)) != _networks(candidates) else path
    return None


def _identity(description: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in description.items() if key not in (*HEAD, "candidates")}


def _networks(candidates: Sequence[Candidate]) -> set[str | None]:
    return {candidate.network for candidate in candidates}


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
