"""Looks at what is made from the journal: tables, the best trial, the Pareto front, and what W&B was told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from searchers import results
from searchers.doctor.description import Description
from searchers.doctor.finding import Aside, Finding, by_moving, first_line
from searchers.record import TrialRecord, best_first, front
from searchers.run_folder import RunFolder, trial_folder
from seqconv import read_architecture
from seqconv.serialization import read_yaml


def look(folder: Path, records: Sequence[TrialRecord], description: Description) -> Iterator[Finding]:
    """What is wrong with them. Of a running search they are older than its journal, and nothing is wrong with that."""
    yield from _tables(folder, list(records))
    yield from _results(folder, list(records), description.objectives)


def ledger(folder: Path) -> Iterator[Finding]:
    """What is wrong with the files from which W&B is told; its own files are its own."""
    told = folder / "wandb" / "trials.jsonl"
    if told.is_file():
        lines = told.read_bytes().split(b"\n")[:-1]
        damaged = [number for number, line in enumerate(lines, start=1) if line and not _is_json(line)]
        if damaged:
            yield Finding(
                where="wandb/trials.jsonl",
                problem=f"{len(damaged)} of {len(lines)} lines cannot be read, the first is line {damaged[0]}",
                lost="what they say is not shown by W&B; the journal has every result",
                harmless=True,
            )
    search = folder / "wandb" / "search.yaml"
    if search.is_file() and (problem := _unreadable(lambda: read_yaml(search))):
        yield Finding(
            where="wandb/search.yaml",
            problem=problem,
            lost="which sweep of W&B the search has; a search that goes on makes another",
            repair="is set aside",
            mend=by_moving(search),
            harmless=True,
        )


_OLDER, _MISSING, _SURPLUS = "is older than the journal", "is missing", "is of no trial of the front"
_STALE = (_OLDER, _MISSING, _SURPLUS)
"""What a search that goes on sees to by itself."""


def _tables(folder: Path, records: list[TrialRecord]) -> Iterator[Finding]:
    import pandas as pd

    def mend(aside: Aside) -> None:
        for name in wrong:
            aside.copy(folder / name)
        results.write_tables(RunFolder(folder), records)

    readers: dict[str, Callable[[Path], Any]] = {"trials.csv": pd.read_csv, "trials.parquet": pd.read_parquet}
    checked = {name: _table(folder / name, read, records) for name, read in readers.items()}
    wrong = {name: problem for name, problem in checked.items() if problem}
    yield from _made_anew(wrong, mend)


def _table(path: Path, read: Callable[[Path], Any], records: list[TrialRecord]) -> str:
    if not path.is_file():
        return _MISSING if records else ""
    rows: list[tuple[int, str, int]] = []
    expected = [(record.number, record.outcome, record.epochs) for record in records]
    problem = _unreadable(lambda: rows.extend(_rows(read(path))))
    return problem or ("" if rows == expected else _OLDER)


def _results(folder: Path, records: list[TrialRecord], objectives: Sequence[str]) -> Iterator[Finding]:
    """best/ and pareto/."""
    expected = dict(zip(["best"], best_first(records), strict=False))
    if several := len(objectives) > 1:
        on_front = front(records, objectives)
        expected |= {f"pareto/{trial_folder(folder, record.number).name}": record for record in on_front}
    there = {path.relative_to(folder).as_posix() for path in (*folder.glob("best"), *folder.glob("pareto/*"))}

    def mend(aside: Aside) -> None:
        for name in wrong:
            if (folder / name).exists():
                aside.move(folder / name)
        results.write_best(RunFolder(folder), records)
        if several:
            results.write_front(RunFolder(folder), records, objectives)

    checked = {name: _result(folder / name, expected.get(name)) for name in sorted(there | expected.keys())}
    wrong = {name: problem for name, problem in checked.items() if problem}
    yield from _made_anew(wrong, mend)


def _made_anew(wrong: Mapping[str, str], mend: Callable[[Aside], None]) -> Iterator[Finding]:
    """One repair for all of them, with the first."""
    for position, (name, problem) in enumerate(wrong.items()):
        yield Finding(
            where=name,
            problem=problem,
            lost="nothing: it is made from the journal",
            repair="is made anew",
            mend=mend if position == 0 else _with_the_first,
            harmless=problem in _STALE,
        )


def _with_the_first(aside: Aside) -> None:
    """Done already."""


def _rows(frame: Any) -> list[tuple[int, str, int]]:
    return [(int(t), str(o), int(e)) for t, o, e in zip(frame["trial"], frame["outcome"], frame["epochs"], strict=True)]


def _result(path: Path, record: TrialRecord | None) -> str:
    if record is None:
        return _SURPLUS
    if not path.is_dir():
        return _MISSING
    if problem := _unreadable(lambda: read_architecture(path / "architecture.yaml")):
        return problem
    if problem := _unreadable(lambda: read_yaml(path / "result.yaml")["trial"]):
        return problem
    same = read_architecture(path / "architecture.yaml").fingerprint() == record.fingerprint
    return "" if same and read_yaml(path / "result.yaml")["trial"] == record.number else _OLDER


def _unreadable(read: Callable[[], object]) -> str:
    try:
        read()
    except Exception as error:  # which one depends on what the file holds instead
        return f"cannot be read: {first_line(error)}"
    return ""


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
