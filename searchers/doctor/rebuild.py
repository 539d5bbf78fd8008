"""A journal from what is whole of a damaged one: its lines, in their order, and entries that stand in for lost ones.

Optuna numbers trials by the lines that begin them. So a lost one has to be replaced in its place: without it every
trial after it would take the results of its neighbour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from searchers import journal, replay
from searchers.doctor.description import Description
from searchers.doctor.lines import Line, read
from searchers.doctor.mending import WRITER, mend
from searchers.doctor.witness import Witnesses
from searchers.record import REFUSED, TrialRecord
from searchers.study import END, NUMBER, STUDY, check_version
from seqconv.architecture import NewerVersion

LOST = "its beginning was lost with a damaged line of the journal, and nothing else says what its knobs were"
_MOST_LOST = 100_000
"""Trials that may be missing in a row; a number that is further off is damage itself."""
_OF_THE_STUDY = (journal.CREATE_STUDY, journal.STUDY_FACT, journal.STUDY_SYSTEM)


@dataclass(kw_only=True)
class Rebuilt:
    """What became of a journal."""

    content: bytes | None = None
    """The journal to be written in its place; None where there is none."""
    records: list[TrialRecord] = field(default_factory=list)
    """Its trials."""
    problems: list[str] = field(default_factory=list)
    """What is damaged; empty where the journal is whole."""
    made: list[str] = field(default_factory=list)
    """What is made again, and from what."""
    lost: list[str] = field(default_factory=list)
    """What is not."""
    cut_off: bool = False
    """Whether it ends in an entry that was being written, which the search drops by itself."""


def rebuild(content: bytes, description: Description, witnesses: Witnesses, *, running: bool = False) -> Rebuilt:
    """Make a journal anew as far as it can be.

    Args:
        content: of the journal.
        description: of the search.
        witnesses: what other files say.
        running: whether the search goes on meanwhile, so that other files may be ahead of the content.

    Raises:
        NewerVersion: a newer release wrote it.
    """
    lines, rest = read(content)
    lines = _readable(lines)
    made = Rebuilt(cut_off=bool(rest))
    made.problems += [f"line {line.number}: {line.problem}" for line in lines if line.entry is None]
    placing = _Placing(made, description, witnesses)
    for line in lines:
        placing.take(line)
    if not running:
        placing.fill(max(witnesses.numbers, default=-1) + 1)
    entries = list(_mended(placing.trials, made, description, None if running else witnesses))
    if entries or placing.study:
        entries = [*_header(placing.study, made, description), *entries]
    try:
        made.records = replay.records(entries)
    except Exception as error:  # a line that was damaged before there were checksums may say anything
        made.problems.append(f"its trials cannot be read: {type(error).__name__} {error}")
        return made
    made.content = b"".join(map(journal.seal, entries))
    return made


def _readable(lines: list[Line]) -> list[Line]:
    """The lines, with those marked as damaged that Optuna cannot read, as one without a checksum may be."""
    whole = [line for line in lines if line.entry is not None]
    before = replay.header(Description().objectives)
    found = replay.refused([*before, *(line.entry for line in whole if line.entry is not None)])
    reasons = {id(whole[position - len(before)]): reason for position, reason in found.items()}
    return [replace(line, entry=None, problem=reasons[id(line)]) if id(line) in reasons else line for line in lines]


class _Placing:
    """Puts entries in order, with others in place of lost ones."""

    def __init__(self, made: Rebuilt, description: Description, witnesses: Witnesses) -> None:
        self.study: list[dict[str, Any]] = []
        self.trials: list[dict[str, Any]] = []
        self._made, self._description, self._witnesses = made, description, witnesses
        self._count = self._pending = 0
        self._unknown: set[int] = set()
        self._headless = False

    def take(self, line: Line) -> None:
        """The next line."""
        if line.entry is None:
            self._pending += line.began_a_trial
            return
        if not self.study and line.entry["op_code"] != journal.CREATE_STUDY and not self._headless:
            self._headless = True
            self._made.problems.append(f"line {line.number}: stands before the study begins")
        if line.entry["op_code"] == journal.CREATE_TRIAL:
            self._begin(line, line.entry)
        elif line.entry["op_code"] in _OF_THE_STUDY:
            self._of_the_study(line, line.entry)
        else:
            self._of_a_trial(line, line.entry)

    def fill(self, end: int) -> None:
        """Begin every trial before number `end` that has not begun."""
        for number in range(self._count, end):
            self._made.problems.append(f"the line that begins trial {number} is missing")
            self.trials.append(self._substitute(number))
        self._pending = max(0, self._pending - max(0, end - self._count))
        self._count = max(self._count, end)

    def _begin(self, line: Line, entry: dict[str, Any]) -> None:
        number = entry["user_attrs"].get(NUMBER, self._count + self._pending)
        if type(number) is not int or not 0 <= number - self._count <= _MOST_LOST or entry["study_id"] != 0:
            self._made.problems.append(f"line {line.number}: begins trial {number} after {self._count} trials")
            return
        self.fill(number)
        self.trials.append(entry)
        self._count, self._pending = number + 1, 0

    def _of_the_study(self, line: Line, entry: dict[str, Any]) -> None:
        if entry.get("study_name", STUDY) != STUDY or entry.get("study_id", 0) != 0:
            self._made.problems.append(f"line {line.number}: of another study")
            return
        try:
            check_version(entry.get("user_attr", {}))
        except NewerVersion:
            raise
        except ValueError as error:
            self._made.problems.append(f"line {line.number}: {error}")
            return
        self.study.append(entry)

    def _of_a_trial(self, line: Line, entry: dict[str, Any]) -> None:
        number = entry["trial_id"]
        missing = range(self._count, number + 1)
        if missing:
            believed = line.sealed or len(missing) <= self._pending or self._witnesses.numbers.issuperset(missing)
            if not believed or len(missing) > _MOST_LOST:
                self._made.problems.append(f"line {line.number}: of trial {number}, which is not there")
                return
            self.fill(number + 1)
        if number not in self._unknown:
            self.trials.append(entry)

    def _substitute(self, number: int) -> dict[str, Any]:
        """Of a trial whose knobs nobody knows, one that was refused: it costs no training, and another is proposed."""
        values, space = self._witnesses.values(number), self._description.space
        if values is None or space is None:
            self._unknown.add(number)
            self._made.lost.append(f"trial {number}: {LOST}")
            end = {END: {"outcome": REFUSED, "reason": LOST}}
            about = {"state": journal.PRUNED, "datetime_complete": datetime.now(UTC).isoformat()}
            return {**replay.opening(number, (), {}, end), **about, "worker_id": WRITER}
        witness = self._witnesses.of(number)
        self._made.made.append(f"the beginning of trial {number} from {' and '.join(witness.sources)}")
        entry = replay.opening(number, space.knobs, values, self._witnesses.facts(number, values))
        return {**entry, "worker_id": WRITER, "datetime_start": witness.started}


def _header(study: list[dict[str, Any]], made: Rebuilt, description: Description) -> list[dict[str, Any]]:
    """The entries of the study; Optuna takes no others before it is begun."""
    begun = [entry for entry in study if entry["op_code"] == journal.CREATE_STUDY]
    others = [entry for entry in study if entry["op_code"] != journal.CREATE_STUDY]
    if begun:
        return [begun[0], *others]
    made.made.append("the beginning of the study from run.yaml")
    return [*replay.header(description.objectives), *others]


def _mended(
    entries: list[dict[str, Any]], made: Rebuilt, description: Description, witnesses: Witnesses | None
) -> Iterator[dict[str, Any]]:
    """The entries of all trials, with those that are missing where they have to be."""
    own: dict[int, list[dict[str, Any]]] = defaultdict(list)
    numbers = []
    for entry in entries:
        numbers.append(entry.get("trial_id", len(own)))
        own[numbers[-1]].append(entry)
    damaged = bool(made.problems)
    mends = {number: mend(number, of, description, witnesses, damaged) for number, of in own.items()}
    for of in mends.values():
        made.problems += of.problems
        made.made += of.made
        made.lost += of.lost
    for number, entry in zip(numbers, entries, strict=True):
        if entry is mends[number].before:
            yield from mends[number].entries
        yield entry
    for of in mends.values():
        if of.before is None:
            yield from of.entries
