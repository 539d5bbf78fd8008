"""What `warm_start=` names, as knob vectors of the space that is searched: run folders, files and presets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_spaces.encode import encode
from search_spaces.knobs import Value
from search_spaces.space import SearchSpace, checked_values
from searchers.objectives import ERROR
from searchers.record import TrialRecord, best_first, front
from searchers.run_folder import RUN_FILE, reading
from searchers.searcher import Problem
from seqconv import Architecture, read_architecture
from seqconv.networks.presets import PRESETS
from seqconv.serialization import ARCHITECTURE_FILE

_ALLOWED = "a run folder, an architecture file, a folder with an architecture.yaml or a preset"


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a search begins with."""

    vectors: tuple[dict[str, Value], ...] = ()
    """In the order in which they are proposed."""
    lines: tuple[str, ...] = ()
    """What there is to say of them: a line for each source, and one for what is out of the budget."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """One architecture of a source."""

    name: str
    """For messages."""
    architecture: Architecture
    values: dict[str, Value] = field(default_factory=dict)
    """The knob vector that it had in the search that it comes from."""


def check_sources(sources: Any) -> tuple[str, ...]:
    """The names of sources as a tuple.

    Raises:
        ValueError: neither a text nor a list of texts.
    """
    names = [] if sources is None else [sources] if isinstance(sources, str) else sources
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"warm_start must be {_ALLOWED}, or a list of such, got {sources!r}")
    return tuple(names)


def read_sources(sources: Sequence[str], problem: Problem, *, top: int | None) -> Given:
    """The knob vectors of all that is named; what a space has no vector for is left out and counted.

    Args:
        sources: run folders, architecture files, folders that hold one, or presets.
        problem: whose space has to have them, and which of them it may train.
        top: trials of a run folder: of its front, where there are several objectives, and then from the best on; None
            is all that have a result.

    Raises:
        ValueError: a source that is not there or has nothing to begin with, or one of which nothing fits the space or,
            of all of them, the budget.
    """
    vectors: list[dict[str, Value]] = []
    lines, refused = [], []
    for source in sources:
        fitting, misfits = _fitting(_found(source, problem.objectives, top), problem.space)
        if not fitting:
            more = f"; {len(misfits) - 1} more of {source} do not fit either" if len(misfits) > 1 else ""
            raise ValueError(f"warm_start: {misfits[0]}{more}")
        note = f"; {len(misfits)} left out, such as {misfits[0]}" if misfits else ""
        lines.append(f"warm start: {_count(len(fitting))} of {source}{note}")
        reasons = {name: problem.refusal(problem.space.decode(values)) for name, values in fitting}
        refused += [f"{name}: {reason}" for name, reason in reasons.items() if reason]
        vectors += [values for name, values in fitting if not reasons[name]]
    if sources and not vectors:
        raise ValueError(f"warm_start: everything in it is out of the budget, such as {refused[0]}")
    if refused:
        lines.append(f"warm start: {_count(len(refused))} out of the budget: {'; '.join(refused)}")
    return Given(vectors=tuple(vectors), lines=tuple(lines))


def _found(source: str, objectives: tuple[str, ...], top: int | None) -> list[_Found]:
    path = Path(source).expanduser()
    if source in PRESETS or path.is_file():
        return [_Found(name=source, architecture=_read(source, path))]
    if (path / RUN_FILE).is_file():
        return _of_run(source, path, objectives, top)
    if (path / ARCHITECTURE_FILE).is_file():
        return [_Found(name=source, architecture=_read(source, path / ARCHITECTURE_FILE))]
    what = f"a folder without {RUN_FILE} or {ARCHITECTURE_FILE}" if path.is_dir() else "no such file or folder"
    raise ValueError(f"warm_start: {source}: {what}; it takes {_ALLOWED}: {', '.join(PRESETS)}")


def _read(source: str, path: Path) -> Architecture:
    try:
        return read_architecture(source if source in PRESETS else path)
    except ValueError as error:
        raise ValueError(f"warm_start: {error}") from None


def _of_run(source: str, path: Path, objectives: tuple[str, ...], top: int | None) -> list[_Found]:
    from searchers.study import read_records  # Optuna takes a while

    with reading(f"warm_start: {source}"):
        records = read_records(path)
        leading = front(records, objectives) if objectives != (ERROR,) else []
        ranked = {record.fingerprint: record for record in (*leading, *best_first(records))}
        if not ranked:
            raise ValueError(f"warm_start: {source}: no trial of this search has a result")
        return [_of_trial(f"{source}, trial {record.number}", record) for record in list(ranked.values())[:top]]


def _of_trial(name: str, record: TrialRecord) -> _Found:
    architecture = Architecture.from_dict(record.facts["architecture"])
    return _Found(name=name, architecture=architecture, values=dict(record.values))


def _fitting(found: Sequence[_Found], space: SearchSpace) -> tuple[list[tuple[str, dict[str, Value]]], list[str]]:
    """The vectors that there are, by name, and why there is none of the others."""
    fitting, misfits = [], []
    for one in found:
        try:
            fitting.append((one.name, _vector(one, space)))
        except ValueError as error:
            misfits.append(f"{one.name}: not in search_space {space.name}: {error}")
    return fitting, misfits


def _vector(found: _Found, space: SearchSpace) -> dict[str, Value]:
    """Its own knob vector, where that means the same in this space."""
    try:
        own = checked_values(space.knobs, found.values)
        if space.decode(own).fingerprint() == found.architecture.fingerprint():
            return own
    except ValueError:
        pass
    return encode(space, found.architecture)


def _count(number: int) -> str:
    return f"{number} architecture{'' if number == 1 else 's'}"
