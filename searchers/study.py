"""The store of a search: an Optuna study in a journal file, the one source of truth that everything else is made from.

The journal is append-only and flushed at every entry, so a search that is killed loses at most the entry being written.
A trial begins with one entry that says all there is to know of it, and ends with the one that closes it.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.knobs import Value
from search_spaces.space import SearchSpace
from searchers import journal
from searchers.distributions import parameters
from searchers.objectives import ERROR
from searchers.record import COMPLETED, DUPLICATE, FAILED, FOUND, PRUNED, REFUSED, RUNNING, TrialRecord
from seqconv.architecture import check_schema

JOURNAL = "study.journal"
SCHEMA = "seqconv.study"
VERSION = 1
END, NUMBER = "end", "number"
"""Facts that the store adds: what is said of the end, and which trial it is, should a line before it be lost."""
SCHEMA_FACT = "schema"
"""The fact of a study that says which release wrote it."""
STUDY = "search"
"""Name of the study of a journal in Optuna."""
_NAMELESS = "constraints"
STATES = {
    COMPLETED: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    FAILED: TrialState.FAIL,
    REFUSED: TrialState.PRUNED,
}


class StoreLost(OSError):
    """The store is out of reach; what it has been told is safe there."""


class TrialStore:
    """Trials of one search.

    Args:
        folder: run folder, which holds the journal; made by this class where it is missing.
        space: whose knob values the trials have.
        objectives: what is minimised; completed trials have a value for each.

    Raises:
        ValueError: a journal that is damaged, or of a newer release.
    """

    salt: tuple[int, ...] = ()
    """Numbers that make the random numbers of this process others than those of another driver of the same study."""

    def __init__(self, folder: Path, space: SearchSpace, objectives: Sequence[str] = (ERROR,)) -> None:
        storage = open_journal(folder / JOURNAL)
        self._attach(storage, STUDY, space, objectives)
        _check_trials(folder, storage)

    def _attach(self, storage: BaseStorage, name: str, space: SearchSpace, objectives: Sequence[str]) -> None:
        """Begin the study where it is not there."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage, self._name = storage, name
        self._knobs, self._objectives = space.knobs, tuple(objectives)
        begin_study(storage, self._objectives, name)
        self._study = storage.get_study_id_from_name(name)
        self._distributions: dict[tuple[Any, ...], dict[str, BaseDistribution]] = {}
        trials = storage.get_all_trials(self._study, deepcopy=False)
        self._ids = [trial._trial_id for trial in trials]
        for trial in trials:
            self._share(trial)

    def begin(self, values: Mapping[str, Value], facts: Mapping[str, Any]) -> TrialRecord:
        """Open a trial, which is to be trained."""
        return self._add(create_trial(state=TrialState.RUNNING, user_attrs=dict(facts), **self._parameters(values)))

    def refuse(
        self, values: Mapping[str, Value], facts: Mapping[str, Any], violations: Mapping[str, float]
    ) -> TrialRecord:
        """Note a proposal that is not trained.

        Args:
            values: its knob values.
            facts: what is known of it, and the reason.
            violations: by how much it breaks each constraint, above 0.
        """
        known, end = _split_end(facts, REFUSED)
        return self._add(
            create_trial(
                state=STATES[REFUSED],
                user_attrs=known | {END: end},
                **_constraints(violations),
                **self._parameters(values),
            )
        )

    def duplicate(self, values: Mapping[str, Value], facts: Mapping[str, Any], original: TrialRecord) -> TrialRecord:
        """Note a proposal that is answered with what is known of the ended trial of the same fingerprint."""
        return self._add(
            create_trial(
                state=STATES[original.outcome],
                values=self._values(original, original.outcome),
                user_attrs={**facts, END: _answer(original)},
                intermediate_values=dict(original.errors),
                **_constraints(original.facts.get("violations", {})),
                **self._parameters(values),
            )
        )

    def note(self, number: int, facts: Mapping[str, Any]) -> None:
        """Add plain facts to an open trial."""
        for key, value in facts.items():
            self._storage.set_trial_user_attr(self._ids[number], key, value)

    def report(self, number: int, epoch: int, error: float) -> bool:
        """Note the validation error after an epoch; False where that epoch is there already and stays as it is."""
        if epoch in self.record(number).errors:
            return False
        self._storage.set_trial_intermediate_value(self._ids[number], epoch, error)
        return True

    def finish(
        self,
        number: int,
        outcome: str,
        facts: Mapping[str, Any] | None = None,
        violations: Mapping[str, float] | None = None,
    ) -> TrialRecord:
        """Close a trial for good, with what there is to say of its end.

        Args:
            number: of an open trial.
            outcome: completed takes a finite value of every objective.
            facts: of its end.
            violations: by how much it breaks each limit, above 0.
        """
        self._constrain(number, violations or {})
        values = self._values(self.record(number), outcome)
        return self._close(number, {**(facts or {}), "outcome": outcome}, values, STATES[outcome])

    def finish_duplicate(self, number: int, original: TrialRecord) -> TrialRecord:
        """Answer an open trial with what is known of the ended trial of the same fingerprint."""
        for epoch, error in sorted(original.errors.items()):
            self.report(number, epoch, error)
        self._constrain(number, original.facts.get("violations", {}))
        values = self._values(original, original.outcome)
        return self._close(number, _answer(original), values, STATES[original.outcome])

    def record(self, number: int) -> TrialRecord:
        """One trial."""
        return record_of(self._trial(number))

    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return [record_of(trial) for trial in self._storage.get_all_trials(self._study, deepcopy=False)]

    def news(self) -> list[TrialRecord]:
        """Trials that may have changed since the last call, by number: of a journal none, which nobody else writes."""
        return []

    def owns(self, record: TrialRecord) -> bool:
        """Whether an open trial is this process's to go on with."""
        return True

    def close(self) -> None:
        """The search has ended here."""

    def _load(self) -> optuna.Study:
        return optuna.load_study(study_name=self._name, storage=self._storage)

    def _trial(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._ids[number])

    def _parameters(self, values: Mapping[str, Value]) -> dict[str, Any]:
        return parameters(self._knobs, values)

    def _values(self, record: TrialRecord, outcome: str) -> list[float] | None:
        """A value for each objective where all are known: of what was stopped early, for one objective alone."""
        measures = record.measures()
        has_values = outcome == COMPLETED or (outcome == PRUNED and len(self._objectives) == 1)
        known = has_values and set(self._objectives) <= measures.keys()
        return [measures[name] for name in self._objectives] if known else None

    def _constrain(self, number: int, violations: Mapping[str, float]) -> None:
        if not violations:
            return
        trial = self._trial(number)
        for name in violations.keys() - trial.constraints.keys():  # of a killed search
            optuna.Trial(self._load(), trial._trial_id).set_constraint(name, violations[name])
        self._storage.set_trial_system_attr(trial._trial_id, _NAMELESS, list(violations.values()))

    def _add(self, trial: FrozenTrial) -> TrialRecord:
        trial.set_user_attr(NUMBER, len(self._ids))
        self._ids.append(self._storage.create_new_trial(self._study, template_trial=trial))
        number = len(self._ids) - 1
        self._share(self._trial(number))
        return self.record(number)

    def _share(self, trial: FrozenTrial) -> None:
        """Keep equal distributions once: Optuna makes those of every trial anew."""
        own = trial.distributions
        trial.distributions = self._distributions.setdefault(tuple(own.items()), own)

    def _close(self, number: int, end: dict[str, Any], values: list[float] | None, state: TrialState) -> TrialRecord:
        """What is said of the end is one entry, which counts only once the trial is closed: a kill may come between."""
        self.note(number, {END: end})
        self._storage.set_trial_state_values(self._ids[number], state, values)
        return self.record(number)


class _SealedFile(JournalFileBackend):
    """The journal file; every line that is written has its checksum, and equal texts in memory are one."""

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        return (_interned(log) for log in super().read_logs(log_number_from))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        super().append_logs([{**log, journal.CHECKSUM: journal.checksum(log)} for log in logs])


def _interned(value: Any) -> Any:
    """Plain data with every text in it, names among them, as the one that is equal to it: all trials have the same."""
    if isinstance(value, dict):
        return {sys.intern(key): _interned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_interned(item) for item in value]
    return sys.intern(value) if isinstance(value, str) else value


def read_records(folder: Path) -> list[TrialRecord]:
    """All trials of a run folder, also while its search is running.

    Raises:
        ValueError: a folder without a journal, a damaged one, or one of a newer release.
    """
    path = folder / JOURNAL
    if not path.is_file():
        raise ValueError(f"{folder}: no {JOURNAL} there; run= takes the folder of a search, such as runs/NAME")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _records(path, _read_journal(path))


def records_of(storage: BaseStorage) -> list[TrialRecord]:
    """All trials of a storage, by number; none where a kill came before its first entry.

    Raises:
        ValueError: it was written by a newer release.
    """
    if not storage.get_all_studies():
        return []
    study = optuna.load_study(study_name=STUDY, storage=storage)
    check_version(study.user_attrs)
    return [record_of(trial) for trial in study.get_trials(deepcopy=False)]


def begin_study(storage: BaseStorage, objectives: Sequence[str], name: str = STUDY) -> None:
    """Write what stands before the first trial, where it is not there.

    Raises:
        ValueError: it was written by a newer release.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, directions=["minimize"] * len(objectives), load_if_exists=True
    )
    check_version(study.user_attrs)
    if SCHEMA_FACT not in study.user_attrs:
        study.set_user_attr(SCHEMA_FACT, {"schema": SCHEMA, "version": VERSION})
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(objectives))


def check_version(facts: Mapping[str, Any]) -> None:
    """Refuse what a newer release wrote, by what is noted of the study; the first releases noted nothing.

    Raises:
        NewerVersion: as its name says.
        ValueError: what is noted is of something else.
    """
    if SCHEMA_FACT in facts:
        check_schema(JOURNAL, facts[SCHEMA_FACT], SCHEMA, VERSION)


def _records(path: Path, storage: JournalStorage) -> list[TrialRecord]:
    try:
        return records_of(storage)
    except (AttributeError, AssertionError, LookupError, TypeError) as error:
        raise _damaged(path, error) from None


def _check_trials(folder: Path, storage: JournalStorage) -> None:
    """A journal that has lost its end would be gone on with in folders of other trials."""
    path = folder / JOURNAL
    trials = len(_records(path, storage))
    numbers = [int(entry.name) for entry in (folder / "trials").glob("*") if entry.name.isdecimal()]
    if beyond := [number for number in numbers if number >= trials]:
        raise _damaged(path, ValueError(f"it ends before trial {min(beyond)}, which has a folder"))


def open_journal(path: Path) -> JournalStorage:
    """The journal for writing. The caller holds the run's lock: what a killed writer left behind is ours to clear.

    Raises:
        ValueError: a damaged journal.
    """
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        whole = path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            logging.getLogger(__name__).warning("%s: dropped an entry that was cut off while written", path)
            with path.open("r+b") as file:
                file.truncate(end)
    return _read_journal(path)


def _read_journal(path: Path) -> JournalStorage:
    content = path.read_bytes() if path.exists() else b""
    try:
        journal.check_seals(content)
        storage = JournalStorage(_SealedFile(str(path)))
    except OSError:
        raise
    except Exception as error:  # Optuna raises whatever comes of an entry that it cannot read
        problem = journal.first_problem(content)
        raise _damaged(path, ValueError(problem) if problem else error) from None
    if b"\n" in content and [study.study_name for study in storage.get_all_studies()] != [STUDY]:
        raise _damaged(path, ValueError("the line that begins the study is missing"))
    return storage


def _damaged(path: Path, error: Exception) -> ValueError:
    plain = type(error) in (LookupError, ValueError)  # those of this module say it all
    reason = str(error) if plain else f"{type(error).__name__} {error}".strip()
    doctor = f"look at it with python doctor.py run={path.parent}"
    return ValueError(f"{path}: damaged, {doctor}, put back a copy or begin anew with another run=: {reason}")


def _constraints(violations: Mapping[str, float]) -> dict[str, Any]:
    """Of a trial that is made in one piece; a list without names too, which is what the dashboard shows."""
    known = dict(violations)
    return {"constraints": known, "system_attrs": {_NAMELESS: list(known.values())}} if known else {}


def _answer(original: TrialRecord) -> dict[str, Any]:
    """What is said of the end of a duplicate."""
    found = {name: original.facts[name] for name in FOUND if name in original.facts}
    return {**found, "duplicate_of": original.number, "outcome": DUPLICATE}


def _split_end(facts: Mapping[str, Any], outcome: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is known of a trial, and what is said of its end."""
    known = {key: value for key, value in facts.items() if key != "reason"}
    return known, {"reason": facts.get("reason", ""), "outcome": outcome}


def record_of(trial: FrozenTrial) -> TrialRecord:
    """A trial of Optuna's as ours.

    Raises:
        LookupError: it lacks what the store writes of every trial.
    """
    facts = dict(trial.user_attrs)
    end = facts.pop(END, {})
    if (number := facts.pop(NUMBER, trial.number)) != trial.number:
        raise LookupError(f"trial {number} stands where trial {trial.number} should")
    ended = trial.state.is_finished()
    if ended and "outcome" not in end:
        raise LookupError(f"how trial {trial.number} ended is missing")
    facts |= {key: value for key, value in end.items() if ended and key != "outcome"}
    if violations := {name: x for name, x in trial.constraints.items() if x > 0 and not name.isdigit()}:
        facts["violations"] = violations
    started, finished = trial.datetime_start, trial.datetime_complete
    if started is not None and finished is not None:
        finished = max(started, finished)  # a clock may be set back meanwhile
    for key, moment in (("started", started), ("finished", finished)):
        facts[key] = None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
    return TrialRecord(
        number=trial.number,
        outcome=end["outcome"] if ended else RUNNING,
        values=dict(trial.params),
        errors=dict(sorted(trial.intermediate_values.items())),
        facts=facts,
    )
