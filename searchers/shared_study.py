"""One study of several drivers, each with its own run folder: the trials are in a database that all of them reach.

Trials are begun one after the other, in the order of their numbers, because the database locks the study meanwhile. So
whoever has begun a trial and then reads the study knows of every trial before it, and the first of those that have an
architecture is the one that trains it: no lock is held for longer.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from search_spaces.space import SearchSpace
from searchers.patience import Patient, why
from searchers.record import DRIVER, TrialRecord
from searchers.run_folder import differences
from searchers.study import SCHEMA_FACT, StoreLost, TrialStore, record_of
from searchers.study_copy import StudyCopy

IDENTITY = "identity"
"""The fact of a study that says what its results depend on."""
BEAT = 30.0
"""Seconds between two signs of life."""
_TRIES = 3
"""To make the tables, which several drivers may do at once."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """One of those that work on a study."""

    name: str
    """That no other one has, and which it keeps when it is started again."""
    where: str
    """Its machine and run folder, for people."""


class SharedStore(TrialStore):
    """The trials of a study, as one driver of several sees them; the run folder gets a copy.

    Args:
        database: what `connect` returned.
        study: name of the study, which is begun where it is not there.
        folder: run folder of this driver.
        driver: which one it is.
        space: whose knob values the trials have.
        objectives: what is minimised.
        identity: what the results depend on.
        patience: seconds to try again while the database is out of reach.
        takeover: seconds without a sign of life after which trials of another driver are taken over; None is never.
        say: told of what the user should know.

    Raises:
        ValueError: the study is of another search or newer release, or the run folder has a copy of another one.
        StoreLost: the database cannot be reached.
    """

    def __init__(
        self,
        database: RDBStorage,
        *,
        study: str,
        folder: Path,
        driver: Driver,
        space: SearchSpace,
        objectives: Sequence[str],
        identity: Mapping[str, Any],
        patience: float,
        takeover: float | None,
        say: Callable[[str], None],
    ) -> None:
        check_study(database, study, identity)
        self._database, self._driver, self._takeover = database, driver, takeover
        self.salt = (zlib.crc32(driver.name.encode()),)
        self._patient = Patient(get_storage(database), patience, say)
        self._attach(cast(BaseStorage, self._patient), study, space, objectives)
        self._claim_study(study, identity)
        self._copy, self._seen, self._open = StudyCopy(folder, objectives), list[FrozenTrial](), set[int]()
        trials = self._read()
        if len(self._copy) > len(trials):
            counts = f"has {len(trials)} trials, and {folder} knows of {len(self._copy)}"
            raise ValueError(f"store.study={study} {counts}: it is another study of that name, or an older copy of it")
        self._changes()
        self._looked, self._closed = time.monotonic(), threading.Event()
        self._heart = threading.Thread(target=self._beat, name="signs of life", daemon=True)
        self._heart.start()

    def news(self) -> list[TrialRecord]:
        """Trials that may have changed since the last call, by number, those that were taken over among them."""
        if self._takeover is not None and time.monotonic() - self._looked >= BEAT:
            self._looked = time.monotonic()
            self._take_over()
        return self._changes()

    def owns(self, record: TrialRecord) -> bool:
        return bool(record.facts[DRIVER]["name"] == self._driver.name)

    def close(self) -> None:
        """Give no more signs of life; the copy is as the study is, where that is within reach."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._heart.join()
        self._patient.seconds = 0
        with contextlib.suppress(StoreLost):
            self._changes()
        self._database.engine.dispose()

    def _read(self) -> list[FrozenTrial]:
        """All trials by number; only what was open at the last call or began since is asked for."""
        trials = self._storage.get_all_trials(self._study, deepcopy=False)
        self._ids = [trial._trial_id for trial in trials]
        return trials

    def _changes(self) -> list[TrialRecord]:
        trials, seen = self._read(), self._seen
        changed = [trial for i, trial in enumerate(trials) if i >= len(seen) or trial is not seen[i]]
        for trial in changed:
            self._copy.put(trial)
            mine = not trial.state.is_finished() and trial.user_attrs[DRIVER]["name"] == self._driver.name
            (self._open.add if mine else self._open.discard)(trial._trial_id)
        self._seen = trials
        return [record_of(trial) for trial in changed]

    def _add(self, trial: FrozenTrial) -> TrialRecord:
        trial.set_user_attr(DRIVER, asdict(self._driver))
        made = self._storage.create_new_trial(self._study, template_trial=trial)
        if trial.state == TrialState.RUNNING:
            self._open.add(made)
            self._patient.call(self._database.record_heartbeat, made)
        return record_of(next(trial for trial in reversed(self._read()) if trial._trial_id == made))

    def _claim_study(self, name: str, identity: Mapping[str, Any]) -> None:
        """The first driver says what the study is of; an insertion, of which one has a hit."""
        fact = models.StudyUserAttributeModel
        row = {"study_id": self._study, "key": IDENTITY, "value_json": json.dumps(identity)}

        def insert() -> None:
            with contextlib.suppress(IntegrityError):
                self._execute(sqlalchemy.insert(fact).values(**row))

        self._patient.call(insert)
        check_study(self._database, name, identity)

    def _take_over(self) -> None:
        """Open trials of drivers that give no sign of life become ours; of several that try, one has a hit."""
        fact = models.TrialUserAttributeModel
        for trial_id in set(self._patient.call(self._database._get_stale_trial_ids, self._study)) - self._open:
            theirs = self._storage.get_trial(trial_id).user_attrs[DRIVER]
            self._patient.call(self._database.record_heartbeat, trial_id)
            swap = sqlalchemy.update(fact).values(value_json=json.dumps(asdict(self._driver)))
            self._patient.call(
                self._execute,
                swap.where(fact.trial_id == trial_id, fact.key == DRIVER, fact.value_json == json.dumps(theirs)),
            )

    def _execute(self, statement: sqlalchemy.Executable) -> None:
        with self._database.engine.begin() as connection:
            connection.execute(statement)

    def _beat(self) -> None:
        while True:
            for trial_id in tuple(self._open):
                with contextlib.suppress(SQLAlchemyError, StorageInternalError):  # the next one may get through
                    self._database.record_heartbeat(trial_id)
            if self._closed.wait(BEAT):
                return


def connect(url: str, takeover: float | None = None) -> RDBStorage:
    """The database of a URL of SQLAlchemy's, with Optuna's tables in it.

    Raises:
        ValueError: why it is none, or cannot be reached or used.
    """
    grace = None if takeover is None else round(takeover)
    for left in reversed(range(_TRIES)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # of signs of life
                # Optuna tells of silent trials only where it is told an interval, which it does not look at.
                return RDBStorage(url, {"pool_pre_ping": True}, heartbeat_interval=1, grace_period=grace)
        except (IntegrityError, ProgrammingError) as error:
            if not left:
                raise ValueError(why(error)) from None
            time.sleep(1)
        except ImportError as error:
            raise ValueError(f"{error.__cause__}: pip install 'seqconv-nas[postgresql]'") from None
        except (RuntimeError, SQLAlchemyError, StorageInternalError) as error:
            raise ValueError(why(error)) from None
    raise AssertionError


def check_study(database: RDBStorage, name: str, identity: Mapping[str, Any]) -> None:
    """Refuse a study whose results depend on other settings; one that is not there, or has only begun, is none.

    Raises:
        ValueError: naming each setting that differs, there and here.
    """
    try:
        study = database.get_study_id_from_name(name)
        facts = database.get_study_user_attrs(study)
        foreign = SCHEMA_FACT not in facts and database.get_n_trials(study) > 0  # reads them all
    except KeyError:
        return
    except StorageInternalError as error:
        raise ValueError(why(error)) from None
    if foreign:
        raise ValueError(f"store.study={name} is a study of something else; pass another store.study=")
    here = json.loads(json.dumps(identity))  # whose keys are text, like those there
    if differing := differences(facts.get(IDENTITY, here), here):
        advice = "Pass another store.study=, or the settings of the searches that work on it"
        raise ValueError(f"store.study={name} belongs to another search: {differing}. {advice}")
