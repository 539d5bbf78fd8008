"""Reads a journal that may be damaged: every line that is whole, and what is wrong with the others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from searchers import journal

_BEGIN = b'{"op_code":'
_OF_A_BEGIN = (b'"op_code":4,', b'"distributions"', b'"intermediate_values":{')
"""What only the line that begins a trial has."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the journal, or what is left of one."""

    number: int
    """Position in the file, from 1."""
    raw: bytes
    """Its bytes, without the line end."""
    entry: dict[str, Any] | None = None
    """What it says; None where it is damaged."""
    problem: str = ""
    """Why it is damaged."""

    @property
    def sealed(self) -> bool:
        """Whether it had a checksum, and so is as it was written."""
        return self.entry is not None and b',"crc":' in self.raw

    @property
    def began_a_trial(self) -> bool:
        """Whether a damaged line looks like one that begins a trial."""
        return self.entry is None and any(mark in self.raw for mark in _OF_A_BEGIN)


def read(content: bytes) -> tuple[list[Line], bytes]:
    """The lines of a journal, and what follows the last line end: an entry that was cut off while it was written."""
    *raws, rest = content.split(b"\n")
    return [line for number, raw in enumerate(raws, start=1) for line in _read(number, raw)], rest


def _read(number: int, raw: bytes) -> Iterator[Line]:
    try:
        yield Line(number=number, raw=raw, entry=journal.parse(raw))
        return
    except ValueError as error:
        problem = str(error)
    # Where a line end was lost, or a power cut left zeros before a line, whole entries stand beside what is damaged.
    found = [line for piece in _pieces(raw) if (line := _whole(number, piece)) is not None]
    yield Line(number=number, raw=_without(raw, found), problem=problem)
    yield from found


def _pieces(raw: bytes) -> Iterator[bytes]:
    starts = [match.start() for match in re.finditer(re.escape(_BEGIN), raw)]
    for start, end in itertools.pairwise([*starts, len(raw)]):
        yield raw[start:end]


def _whole(number: int, piece: bytes) -> Line | None:
    for raw in (piece, piece[: piece.rfind(b"}") + 1]):
        try:
            return Line(number=number, raw=raw, entry=journal.parse(raw))
        except ValueError:
            continue
    return None


def _without(raw: bytes, found: list[Line]) -> bytes:
    for line in found:
        raw = raw.replace(line.raw, b"", 1)
    return raw
