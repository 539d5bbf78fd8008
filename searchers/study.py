"""The store of a search: an Optuna study in a journal file, the one source of truth that everything else is made from.

The journal is append-only and flushed at every entry, so a search that is killed loses at most the entry being written.
A sampler is made anew for every value from (seed, number of the trial, position of the knob), so that a proposal
depends on the history and the seed alone: a resumed search proposes what an unbroken one would have proposed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from search_spaces.knobs import Categorical, Integer, Knob, Value, active
from search_spaces.space import SearchSpace
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.samplers import Random, Sampler

JOURNAL = "study.journal"
_STUDY, _END = "search", "end"
_STATES = {
    COMPLETED: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    FAILED: TrialState.FAIL,
    REFUSED: TrialState.PRUNED,
}


class TrialStore:
    """Trials of one search, and proposals for the next ones.

    Args:
        folder: run folder, which holds the journal; made by this class where it is missing.
        space: what to propose from.
        sampler: how to propose.
        seed: with the number of a trial, all the randomness of its proposal.
    """

    def __init__(self, folder: Path, space: SearchSpace, sampler: Sampler, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._sampler, self._seed = space, sampler, seed
        self._study = optuna.create_study(
            storage=_open_journal(folder / JOURNAL), study_name=_STUDY, direction="minimize", load_if_exists=True
        )
        self._open: dict[int, optuna.Trial] = {}

    def ask(self, *, uniform: bool = False) -> TrialRecord:
        """Open a new trial with proposed values; `uniform` draws them blindly, to leave a rut of duplicates."""
        return self._propose(self._study.ask(), Random() if uniform else self._sampler)

    def adopt(self, number: int) -> TrialRecord:
        """Take over a trial that a killed search left open; values it had not drawn yet are drawn now."""
        frozen = self._study.get_trials(deepcopy=False)[number]
        self._propose(optuna.Trial(self._study, frozen._trial_id), self._sampler)
        return self.record(number)

    def note(self, number: int, facts: Mapping[str, Any]) -> None:
        """Add plain facts to an open trial."""
        for key, value in facts.items():
            self._open[number].set_user_attr(key, value)

    def report(self, number: int, epoch: int, error: float) -> bool:
        """Note the validation error after an epoch; False where that epoch is there already and stays as it is."""
        if epoch in self.record(number).errors:
            return False
        self._open[number].report(error, epoch)
        return True

    def constrain(self, number: int, violations: Mapping[str, float]) -> None:
        """Tell the sampler by how much an open trial breaks each constraint (above 0 is infeasible)."""
        known = self._study.get_trials(deepcopy=False)[number].constraints  # of a killed search
        for name in violations.keys() - known.keys():
            self._open[number].set_constraint(name, violations[name])

    def finish(self, number: int, outcome: str, facts: Mapping[str, Any] | None = None) -> None:
        """Close a trial for good, with what there is to say of its end. Completed needs a finite error."""
        value = self.record(number).error if outcome == COMPLETED else None
        self._close(number, {**(facts or {}), "outcome": outcome}, value, _STATES[outcome])

    def finish_duplicate(self, number: int, original: TrialRecord) -> None:
        """Answer an open trial with what is known of the ended trial of the same fingerprint."""
        for epoch, error in sorted(original.errors.items()):
            self.report(number, epoch, error)
        value = original.error if original.outcome == COMPLETED else None
        self._close(number, {"duplicate_of": original.number, "outcome": DUPLICATE}, value, _STATES[original.outcome])

    def record(self, number: int) -> TrialRecord:
        """One trial."""
        return _record(self._study.get_trials(deepcopy=False)[number])

    def records(self) -> list[TrialRecord]:
        """All trials, by number."""
        return [_record(trial) for trial in self._study.get_trials(deepcopy=False)]

    def _close(self, number: int, end: dict[str, Any], value: float | None, state: TrialState) -> None:
        """What is said of the end is one entry, which counts only once the trial is closed: a kill may come between."""
        self.note(number, {_END: end})
        self._study.tell(number, value, state=state)
        del self._open[number]

    def _seed_sampler(self, sampler: Sampler, number: int, position: int) -> None:
        seed = np.random.SeedSequence([self._seed, number, position]).generate_state(1)[0]
        self._study.sampler = _optuna_sampler(sampler, int(seed))

    def _propose(self, trial: optuna.Trial, sampler: Sampler) -> TrialRecord:
        self._seed_sampler(sampler, trial.number, 0)
        _ = trial.relative_params  # drawn when first asked for: the knobs that have no condition, together
        values: dict[str, Value] = {}
        for position, knob in enumerate(self._space.knobs, start=1):
            if active(knob, values):
                self._seed_sampler(sampler, trial.number, position)
                values[knob.name] = _suggest(trial, knob)
        self._open[trial.number] = trial
        return TrialRecord(number=trial.number, outcome=RUNNING, values=values)


def _optuna_sampler(sampler: Sampler, seed: int) -> BaseSampler:
    if isinstance(sampler, Random):
        return RandomSampler(seed=seed)
    return TPESampler(
        seed=seed,
        multivariate=True,
        constant_liar=True,
        n_startup_trials=sampler.startup_trials,
        n_ei_candidates=sampler.candidates,
    )


def _suggest(trial: optuna.Trial, knob: Knob) -> Value:
    if isinstance(knob, Categorical):
        return cast(Value, trial.suggest_categorical(knob.name, knob.choices))
    if isinstance(knob, Integer):
        return trial.suggest_int(knob.name, knob.low, knob.high, step=knob.step, log=knob.log)
    return trial.suggest_float(knob.name, knob.low, knob.high, step=knob.step, log=knob.log)


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


def _record(trial: FrozenTrial) -> TrialRecord:
    facts = dict(trial.user_attrs)
    end = facts.pop(_END, {})
    ended = trial.state.is_finished()
    facts |= {key: value for key, value in end.items() if ended and key != "outcome"}
    for key, moment in (("started", trial.datetime_start), ("finished", trial.datetime_complete)):
        facts[key] = None if moment is None else moment.isoformat(timespec="seconds")
    return TrialRecord(
        number=trial.number,
        outcome=end["outcome"] if ended else RUNNING,
        values=dict(trial.params),
        errors=dict(sorted(trial.intermediate_values.items())),
        facts=facts,
    )
