"""What Optuna makes of the lines of a journal, in memory: entries are tried so before they are written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState, create_trial

from search_spaces.knobs import Knob, Value
from searchers.distributions import parameters
from searchers.record import TrialRecord
from searchers.study import NUMBER, begin_study, records_of


class _Memory(BaseJournalBackend):
    """A journal that is no file."""

    def __init__(self, entries: Sequence[dict[str, Any]] = ()) -> None:
        self.entries, self.position = list(entries), 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        for position in range(log_number_from, len(self.entries)):
            self.position = position
            yield self.entries[position]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.entries.extend(json.loads(json.dumps(logs)))


def refused(entries: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Which of these entries Optuna cannot replay, and why: by position."""
    memory = _Memory()
    storage = JournalStorage(memory)
    memory.entries = list(entries)
    found: dict[int, str] = {}
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of ranges that a damaged line has
                storage.get_all_studies()
            return found
        except Exception as error:  # which one depends on what is damaged; the entry counts as read
            found[memory.position] = f"Optuna cannot read it: {type(error).__name__} {error}".strip()


def records(entries: Sequence[dict[str, Any]]) -> list[TrialRecord]:
    """The trials of entries that Optuna can replay.

    Raises:
        Exception: a trial that lacks what every one has.
    """
    return records_of(JournalStorage(_Memory(entries)))


def header(objectives: Sequence[str]) -> list[dict[str, Any]]:
    """The entries that stand before the first trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    memory = _Memory()
    begin_study(JournalStorage(memory), objectives)
    return memory.entries


def opening(number: int, knobs: tuple[Knob, ...], values: Mapping[str, Value], facts: Mapping[str, Any]) -> Any:
    """The entry that begins a trial."""
    memory = _Memory(header(["error"]))
    storage = JournalStorage(memory)
    trial = create_trial(state=TrialState.RUNNING, user_attrs={**facts, NUMBER: number}, **parameters(knobs, values))
    storage.create_new_trial(0, template_trial=trial)
    return memory.entries[-1]
