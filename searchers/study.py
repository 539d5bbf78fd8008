"""The store of a search: an Optuna study in a journal file, the one source of truth that everything else is made from.

The journal is append-only and flushed at every entry, so a search that is killed loses at most the entry being written.
A trial begins with one entry that says all there is to know of it, and ends with the one that closes it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.knobs import Value
from search_spaces.space import SearchSpace
from searchers.distributions import parameters
from searchers.objectives import ERROR
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord

JOURNAL = "study.journal"
_STUDY, _END, _NAMELESS = "search", "end", "constraints"
_STATES = {
    COMPLETED: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    FAILED: TrialState.FAIL,
    REFUSED: TrialState.PRUNED,
}


class TrialStore:
    """Trials of one search.

    Args:
        folder: run folder, which holds the journal; made by this class where it is missing.
        space: whose knob values the trials have.
        objectives: what is minimised; completed trials have a value for each.
    """

    def __init__(self, folder: Path, space: SearchSpace, objectives: Sequence[str] = (ERROR,)) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._knobs, self._objectives = space.knobs, tuple(objectives)
        self._storage = _open_journal(folder / JOURNAL)
        study = optuna.create_study(
            storage=self._storage, study_name=_STUDY, directions=["minimize"] * len(objectives), load_if_exists=True
        )
        if study.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(list(objectives))
        self._study = self._storage.get_study_id_from_name(_STUDY)
        self._ids = [trial._trial_id for trial in self._storage.get_all_trials(self._study, deepcopy=False)]

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
                state=_STATES[REFUSED],
                user_attrs=known | {_END: end},
                **_constraints(violations),
                **self._parameters(values),
            )
        )

    def duplicate(self, values: Mapping[str, Value], facts: Mapping[str, Any], original: TrialRecord) -> TrialRecord:
        """Note a proposal that is answered with what is known of the ended trial of the same fingerprint."""
        end = {"duplicate_of": original.number, "outcome": DUPLICATE}
        return self._add(
            create_trial(
                state=_STATES[original.outcome],
                values=self._values(original, original.outcome),
                user_attrs={**facts, _END: end},
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
        return self._close(number, {**(facts or {}), "outcome": outcome}, values, _STATES[outcome])

    def finish_duplicate(self, number: int, original: TrialRecord) -> TrialRecord:
        """Answer an open trial with what is known of the ended trial of the same fingerprint."""
        for epoch, error in sorted(original.errors.items()):
            self.report(number, epoch, error)
        self._constrain(number, original.facts.get("violations", {}))
        end = {"duplicate_of": original.number, "outcome": DUPLICATE}
        return self._close(number, end, self._values(original, original.outcome), _STATES[original.outcome])

    def record(self, number: int) -> TrialRecord:
        """One trial."""
        return _record(self._trial(number))

    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return [_record(trial) for trial in self._storage.get_all_trials(self._study, deepcopy=False)]

    def _load(self) -> optuna.Study:
        return optuna.load_study(study_name=_STUDY, storage=self._storage)

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
        self._ids.append(self._storage.create_new_trial(self._study, template_trial=trial))
        return self.record(len(self._ids) - 1)

    def _close(self, number: int, end: dict[str, Any], values: list[float] | None, state: TrialState) -> TrialRecord:
        """What is said of the end is one entry, which counts only once the trial is closed: a kill may come between."""
        self.note(number, {_END: end})
        self._storage.set_trial_state_values(self._ids[number], state, values)
        return self.record(number)


def read_records(folder: Path) -> list[TrialRecord]:
    """All trials of a run folder, also while its search is running.

    Raises:
        ValueError: a folder without a journal, or a damaged one.
    """
    if not (folder / JOURNAL).is_file():
        raise ValueError(f"{folder}: no {JOURNAL} there; run= takes the folder of a search, such as runs/NAME")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.load_study(study_name=_STUDY, storage=_read_journal(folder / JOURNAL))
    except KeyError:  # killed before its first entry
        return []
    return [_record(trial) for trial in study.get_trials(deepcopy=False)]


def _open_journal(path: Path) -> JournalStorage:
    """The journal for writing. The caller holds the run's lock: what a killed writer left behind is ours to clear."""
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
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except ValueError as error:
        raise ValueError(f"{path}: damaged, put back a copy or begin anew with another run=: {error}") from None


def _constraints(violations: Mapping[str, float]) -> dict[str, Any]:
    """Of a trial that is made in one piece; a list without names too, which is what the dashboard shows."""
    known = dict(violations)
    return {"constraints": known, "system_attrs": {_NAMELESS: list(known.values())}} if known else {}


def _split_end(facts: Mapping[str, Any], outcome: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is known of a trial, and what is said of its end."""
    known = {key: value for key, value in facts.items() if key != "reason"}
    return known, {"reason": facts.get("reason", ""), "outcome": outcome}


def _record(trial: FrozenTrial) -> TrialRecord:
    facts = dict(trial.user_attrs)
    end = facts.pop(_END, {})
    ended = trial.state.is_finished()
    facts |= {key: value for key, value in end.items() if ended and key != "outcome"}
    if violations := {name: x for name, x in trial.constraints.items() if x > 0 and not name.isdigit()}:
        facts["violations"] = violations
    for key, moment in (("started", trial.datetime_start), ("finished", trial.datetime_complete)):
        facts[key] = None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
    return TrialRecord(
        number=trial.number,
        outcome=end["outcome"] if ended else RUNNING,
        values=dict(trial.params),
        errors=dict(sorted(trial.intermediate_values.items())),
        facts=facts,
    )
