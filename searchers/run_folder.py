"""The folder of one search: what stands where, who may write, and whether it belongs to this command.

    run.yaml            what makes the search this one: space, data, training, seed; checked on resume
    config.yaml         the resolved configuration of the last command
    environment.yaml    versions, device, commit
    study.journal       the store, see searchers.study; a copy of it where that is in a database
    trials.csv/.parquet one row a trial
    trials/0007/        architecture.yaml, metrics.csv, log.txt, checkpoint.pt, model.pt
    best/, pareto/0007/ architecture.yaml and result.yaml of the best trial, of the front of several objectives
    report.html report/ what to look at, and the data behind it
    wandb/ tensorboard/ what a tracker keeps
    damaged-TIME/       what doctor.py has replaced

Tables and best/ can be made anew from the journal at any time.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from searchers.objectives import ERROR
from searchers.owned_folder import HEAD, Kind, OwnedFolder, fresh
from searchers.redaction import redacted
from seqconv import Architecture, validation, write_architecture
from seqconv.architecture import check_schema
from seqconv.files import write_atomically
from seqconv.serialization import read_yaml, to_yaml

RUN_FILE = "run.yaml"
SCHEMA = "seqconv.run"
VERSION = 1
IN_JOURNAL = "journal"
"""What run.yaml says of a store that is in the folder."""
_OLDER: Mapping[str, Any] = {"objective": [ERROR], "limits": {}, "store": IN_JOURNAL}
"""What searches of earlier releases did, whose folders do not say it."""
_KIND = Kind(name="search", setting="run", file=RUN_FILE, schema=SCHEMA, version=VERSION)


class RunFolder(OwnedFolder):
    """A folder that this process alone writes to, from `open` until the process ends.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _KIND)

    def open(self, identity: Mapping[str, Any], files: Mapping[str, Any]) -> None:
        """Make the folder or take it over, and write the files (name without .yaml to content) that describe it.

        Passwords and keys in these files are left out.

        Raises:
            ValueError: another search is running in it, or it belongs to a search of another identity.
            OSError: it cannot be written.
        """
        check_identity(self.path, identity)
        self.own()
        if not (self.path / RUN_FILE).is_file():
            write_atomically(self.path / RUN_FILE, to_yaml({**_KIND.head(), **identity}))
        (self.path / "trials").mkdir(exist_ok=True)
        for name, content in files.items():
            write_atomically(self.path / f"{name}.yaml", to_yaml(redacted(content)))

    @property
    def group(self) -> str:
        """A name of this search that no other search has, whatever its folder is called."""
        return f"{self.path.resolve().name}-{read_run(self.path)['id']}"

    def trial(self, number: int) -> Path:
        """Folder of a trial."""
        return trial_folder(self.path, number)

    def begin_trial(self, number: int, architecture: Architecture) -> None:
        """Make the folder of a trial, with its architecture in it."""
        self.trial(number).mkdir(parents=True, exist_ok=True)
        write_architecture(architecture, self.trial(number) / "architecture.yaml")


def trial_folder(run: Path, number: int) -> Path:
    """Folder of a trial in a run folder."""
    return run / "trials" / f"{number:04d}"


def choose(
    run: str | None, resume: bool | None, identity: Mapping[str, Any], root: Path = Path("runs")
) -> tuple[Path, bool]:
    """The run folder for a command, and whether a search is there to go on with.

    Raises:
        ValueError: run= is no folder of a search, holds one and resume=false, or none and resume=true.
        OSError: the folder could not be written.
    """
    name = f"{identity['search_space']['name']}-{identity['dataset']['name']}"
    if run is not None:
        path = Path(run).expanduser()
        exists = _KIND.is_in(path)
        if exists and resume is False:
            raise ValueError(f"run={run}: holds a search already and resume=false; pass another run= or resume=true")
    else:
        found = newest(root, identity) if resume else None
        exists = found is not None
        path = found or fresh(root, name)
    if resume and not exists:
        where = f"of this command under {root}" if run is None else f"at run={run}"
        raise ValueError(f"resume=true: there is no search {where} to go on with; leave resume out to begin one")
    check_writable("run", path)
    return path, exists


def newest(root: Path, identity: Mapping[str, Any]) -> Path | None:
    """The latest run folder under `root` that belongs to a search of that identity."""
    for path in _KIND.newest_first(root):
        try:
            check_identity(path, identity)
        except ValueError:
            continue
        return path
    return None


def check_identity(path: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder whose search differs in what its results depend on.

    Raises:
        ValueError: naming each setting that differs, there and here.
    """
    if not (path / RUN_FILE).is_file():
        return
    older = {key: value for key, value in _OLDER.items() if key in identity}
    there = older | {key: value for key, value in read_run(path).items() if key not in HEAD}
    if differing := differences(there, identity):
        advice = f"Pass another run= or the settings of {path / 'config.yaml'}"
        raise ValueError(f"run={path} belongs to another search: {differing}. {advice}")


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In which settings two identities differ, for a message; empty where they are equal."""
    theirs, mine = _flat(there), _flat(here)
    names = [name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name)]
    listed = "; ".join(f"{name} is {theirs.get(name)!r} there and {mine.get(name)!r} here" for name in names[:5])
    return f"{listed}; and {len(names) - 5} more" if len(names) > 5 else listed


def read_run(path: Path) -> Mapping[str, Any]:
    """What stands in the run.yaml of a folder.

    Raises:
        ValueError: another document than a search writes, or one of a newer version.
    """
    where = str(path / RUN_FILE)
    description = read_yaml(path / RUN_FILE)
    check_schema(where, description, SCHEMA, VERSION)
    return validation.has_keys(where, description, (*HEAD, "search_space", "dataset", "trial", "seed"))


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Inside, what content of another kind than ours raises is a ValueError that names `what` it stands in."""
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"{what}: damaged, or not written by us: {type(error).__name__}: {error}") from error


def check_writable(name: str, path: Path) -> None:
    """Fail before minutes of work, not after: the nearest folder that exists must take a file.

    Raises:
        OSError: naming the setting and the folder.
    """
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OSError(f"{name}={path}: cannot write to {existing}: {error.strerror or error}") from None


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(data, Mapping) and data:
        named = ((f"{prefix}.{key}" if prefix else key, value) for key, value in data.items())
        return {k: v for name, value in named for k, v in _flat(value, name).items()}
    return {prefix: list(data) if isinstance(data, tuple) else data}
