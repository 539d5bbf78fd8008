"""Everything that is wrong with a run folder, in the order in which it is repaired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchers.doctor import products, trial_files
from searchers.doctor.description import Description, describe
from searchers.doctor.finding import Aside, Finding, by_moving, first_line
from searchers.doctor.rebuild import Rebuilt, rebuild
from searchers.doctor.witness import Witnesses
from searchers.run_folder import RUN_FILE
from searchers.study import JOURNAL
from seqconv.architecture import NewerVersion
from seqconv.files import write_atomically
from seqconv.serialization import read_yaml

_TABLES = ("trials.csv", "trials.parquet")
_LISTED = 5


def examine(folder: Path, *, running: bool) -> tuple[list[Finding], Rebuilt]:
    """Look at a run folder, and write nothing.

    Args:
        folder: of a search.
        running: whether the search goes on meanwhile.

    Returns:
        What is wrong, and what the journal comes to.

    Raises:
        ValueError: a folder of a newer release.
        OSError: something that cannot be read, whatever it holds.
    """
    description, found = _description(folder)
    path = folder / JOURNAL
    content = path.read_bytes() if path.is_file() else b""
    rebuilt = rebuild(content, description, Witnesses(folder, description), running=running)
    found += _journal(path, rebuilt)
    found += _settings(folder)
    found += trial_files.look(folder, rebuilt.records, description, running=running)
    if not running:
        found += products.look(folder, rebuilt.records, description)
        found += _leftovers(folder)
    return [*found, *products.ledger(folder)], rebuilt


def _description(folder: Path) -> tuple[Description, list[Finding]]:
    try:
        return describe(folder), []
    except NewerVersion:
        raise
    except (OSError, ValueError) as error:
        return Description(), [
            Finding(
                where=RUN_FILE,
                problem=f"cannot be read: {first_line(error)}",
                lost="what the results depend on: no search can go on here before a copy is put back; "
                "report.py shows the results all the same",
            )
        ]


def _journal(path: Path, rebuilt: Rebuilt) -> Iterator[Finding]:
    if rebuilt.problems:
        content = rebuilt.content

        def mend(aside: Aside) -> None:
            for name in (JOURNAL, *_TABLES):  # tables have witnessed, and are written anew
                aside.copy(path.with_name(name))
            assert content is not None
            write_atomically(path, content)

        lost = _listed(rebuilt.lost) or "nothing that another file does not say"
        yield Finding(
            where=JOURNAL,
            problem=_listed(rebuilt.problems),
            lost=f"{lost}; {len(rebuilt.records)} trials are there",
            repair="" if content is None else f"is written anew, with {_listed(rebuilt.made) or 'what is whole of it'}",
            mend=None if content is None else mend,
        )
    if rebuilt.cut_off:
        yield Finding(
            where=JOURNAL,
            problem="ends in an entry that was cut off while it was written",
            lost="that entry, which did not count yet; a search that goes on drops it",
            harmless=True,
        )


def _settings(folder: Path) -> Iterator[Finding]:
    for name in ("config.yaml", "environment.yaml"):
        path = folder / name
        try:
            if not path.is_file() or isinstance(read_yaml(path), dict):
                continue
            problem = "is no mapping"
        except (OSError, ValueError) as error:
            problem = f"cannot be read: {first_line(error)}"
        yield Finding(
            where=name,
            problem=problem,
            lost="how the last command was given; a search that goes on writes its own",
            repair="is set aside",
            mend=by_moving(path),
        )


def _leftovers(folder: Path) -> Iterator[Finding]:
    """What killed processes leave; `.lock` belongs to the folder."""
    places = ("", "best/", "pareto/*/", "report/", "trials/*/", "wandb/")
    patterns = [f"{JOURNAL}.lock*", *(f"{place}.*.part" for place in places)]
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        yield Finding(
            where=path.relative_to(folder).as_posix(),
            problem="was left by a process that was killed",
            lost="nothing",
            repair="is set aside",
            mend=by_moving(path),
            harmless=True,
        )


def _listed(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "; ".join([*lines[:_LISTED], *more])
