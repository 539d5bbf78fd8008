"""A copy of a shared study in the journal of a run folder, which is so read like that of any other search."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from searchers.study import JOURNAL, NUMBER, STUDY, begin_study, open_journal


class StudyCopy:
    """The trials as they were when they were last put.

    Args:
        folder: run folder; what is left there of an earlier copy is gone on with.
        objectives: what is minimised.
    """

    def __init__(self, folder: Path, objectives: Sequence[str]) -> None:
        self._path = folder / JOURNAL
        try:
            self._storage = open_journal(self._path)
        except ValueError:  # damaged, and no loss
            self._path.unlink()
            self._storage = open_journal(self._path)
        begin_study(self._storage, objectives)
        self._study = self._storage.get_study_id_from_name(STUDY)
        self._ids = [trial._trial_id for trial in self._storage.get_all_trials(self._study, deepcopy=False)]

    def __len__(self) -> int:
        return len(self._ids)

    def put(self, trial: FrozenTrial) -> None:
        """Write what is not there yet of a trial; new ones come by number.

        Raises:
            ValueError: another trial has that number here.
        """
        if trial.number == len(self):
            made = copy.deepcopy(trial)
            made.set_user_attr(NUMBER, trial.number)
            self._ids.append(self._storage.create_new_trial(self._study, template_trial=made))
            return
        here, there = self._ids[trial.number], self._storage.get_trial(self._ids[trial.number])
        if trial.params != there.params:
            raise ValueError(f"{self._path} has another trial {trial.number} than its study: pass another run=")
        if there.state.is_finished():
            return
        for key, value in _beyond(trial.user_attrs, there.user_attrs).items():
            self._storage.set_trial_user_attr(here, key, value)
        for key, value in _beyond(trial.system_attrs, there.system_attrs).items():
            self._storage.set_trial_system_attr(here, key, value)
        for epoch, error in _beyond(trial.intermediate_values, there.intermediate_values).items():
            self._storage.set_trial_intermediate_value(here, epoch, error)
        if trial.state.is_finished():
            self._storage.set_trial_state_values(here, trial.state, trial.values)


def _beyond(mine: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> dict[Any, Any]:
    """What is not there, or is there as something else."""
    return {key: value for key, value in mine.items() if key not in theirs or theirs[key] != value}
