"""The trials of a search as a searcher sees them: in memory, in order, with a log of what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from searchers.record import DUPLICATE, TrialRecord


class History:
    """Trials by number. Grows, and is updated in place; a trial once there is never taken away.

    Args:
        records: by number, from 0.
    """

    def __init__(self, records: Iterable[TrialRecord] = ()) -> None:
        self._records: list[TrialRecord] = []
        self._changes: list[int] = []
        self._known: Counter[str] = Counter()
        for record in records:
            self.put(record)

    def put(self, record: TrialRecord) -> None:
        """Append the next trial, or say what has become of one.

        Raises:
            ValueError: a number beyond the next one.
        """
        if record.number > len(self._records):
            raise ValueError(f"trial {record.number} comes after {len(self._records)}: numbers leave no gap")
        if record.number == len(self._records):
            self._records.append(record)
        else:
            self._count(self._records[record.number], -1)
            self._records[record.number] = record
        self._count(record, 1)
        self._changes.append(record.number)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> TrialRecord:
        return self._records[number]

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self._records)

    def since(self, position: int) -> tuple[list[int], int]:
        """Numbers of the trials put since a position of the log of changes, each once, and the position it has reached.

        What is made from the history step by step stays in step with it so.
        """
        return list(dict.fromkeys(self._changes[position:])), len(self._changes)

    def known(self, fingerprint: str) -> bool:
        """Whether a trial of that architecture is running or has come to an end, but for one that a budget refused."""
        return self._known[fingerprint] > 0

    def _count(self, record: TrialRecord, by: int) -> None:
        if record.fingerprint is not None and record.settled and record.outcome != DUPLICATE:
            self._known[record.fingerprint] += by
