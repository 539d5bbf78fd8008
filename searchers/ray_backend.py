"""Ray Tune runs the trials of a session: the only module that knows of Tune.

Ray's own experiment state is thrown away: a search resumes from its store and its checkpoints with a new Tuner.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import shutil
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from searchers import ray_cluster  # sets what Ray reads when it is imported

# isort: split
from ray import tune
from ray.tune import Callback, Stopper, TuneError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from searchers import ray_schedulers, run_folder, watchdog
from searchers.config import TrainTrial
from searchers.ray_cluster import Share
from searchers.record import FOUND
from searchers.schedulers import Scheduler
from searchers.session import Session
from searchers.watchdog import TrialLimits
from seqconv import Architecture
from training import memory
from training.device import release_memory

_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the system says of a disk that takes nothing more: every other trial would meet the same."""
_NAMES_IT = ("trial_id", "trainable_name", "custom_trial_name", "status")
"""What Tune may ask of a trial that has ended."""


def run(
    session: Session,
    *,
    share: Share,
    scheduler: Scheduler,
    retries: int,
    limits: TrialLimits,
    train: TrainTrial,
    folder: Path,
    shared: Mapping[str, Any],
) -> None:
    """Run trials until the session is done or interrupted (SIGINT), then leave Ray.

    Args:
        session: proposes and takes results.
        share: what `ray_cluster.connect` returned.
        scheduler: when to stop a trial early.
        retries: starts after a worker process died.
        limits: what the process of a trial may take.
        train: runs in the workers.
        folder: of the search; absolute.
        shared: keyword arguments of `train` that all trials have in common, sent once.

    Raises:
        OSError: the session could not write, as to a disk that is read-only since.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what Tune reports as errors reaches the session
    searcher = SessionSearcher(session, ray_cluster.Room(share, session.progress.note))
    try:
        trainable = tune.with_resources(
            tune.with_parameters(
                _train_and_report, train=train, share=share, limits=limits, folder=folder, shared=dict(shared)
            ),
            {"cpu": share.cpu, "gpu": share.gpu},
        )
        with _scratch(folder) as scratch:
            tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=ray_schedulers.of_session(scheduler, session),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="search",
                    storage_path=str(scratch),
                    failure_config=tune.FailureConfig(max_failures=retries),
                    stop=Enough(searcher),
                    callbacks=[
                        LostWorkers(searcher, session.progress.note, retries, functools.partial(_verdict, folder)),
                        Forgetting(),
                    ],
                    verbose=0,
                ),
            ).fit()
    except TuneError as error:
        if (refused := _refused(error)) is not None:
            raise refused from None
        raise
    finally:
        ray_cluster.leave()


def _refused(error: BaseException | None) -> OSError | None:
    """What the system refused the session, of which Tune makes an error with a traceback for a text."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Where Tune keeps what nobody reads; in the run folder, so that what a killed search left of it is removed."""
    path = folder / ".tune"
    shutil.rmtree(path, ignore_errors=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _train_and_report(
    config: dict[str, Any],
    *,
    train: TrainTrial,
    share: Share,
    limits: TrialLimits,
    folder: Path,
    shared: Mapping[str, Any],
) -> None:
    """In a worker. An exception of the training is a result, so that Ray retries nothing but a lost process."""
    number = config["number"]
    if not (folder / run_folder.RUN_FILE).is_file():
        tune.report({"failure": f"{folder} is not there on {socket.gethostname()}: run= must be seen by every node"})
        return
    if (reason := _verdict(folder, number)) is not None:
        tune.report({"failure": reason})  # its process was ended: another one would come to the same
        return
    architecture = Architecture.from_dict(config["architecture"])
    device, threads = "cuda" if share.gpu else "cpu", max(1, int(share.cpu))
    memory.limit(share.gpu)
    own = {**shared, **config["member"]}
    trial = train(number, architecture, device=device, threads=threads, folder=folder, **own)
    try:
        for metrics in watchdog.watched(trial, run_folder.trial_folder(folder, number), limits):
            tune.report(asdict(metrics))
    except Exception as error:
        kind = "halt" if isinstance(error, OSError) and error.errno in _NO_PLACE else "failure"
        tune.report({kind: traceback.format_exc()})
    finally:
        # Reached too when the scheduler stops the trial, so that the worker's next one does not inherit its memory.
        trial.close()
        del trial
        release_memory()


def _verdict(folder: Path, number: int) -> str | None:
    return watchdog.verdict(run_folder.trial_folder(folder, number))


class SessionSearcher(Searcher):
    """The session, spoken to in Ray Tune's words. Pickles as nothing, because the store is the state."""

    def __init__(self, session: Session, room: Callable[[], int]) -> None:
        super().__init__(metric="validation_error", mode="min")
        self._session, self._room = session, room
        self._numbers: dict[str, int] = {}
        self._failures: dict[str, str] = {}
        self._again: list[Mapping[str, Any]] = []

    def suggest(self, trial_id: str) -> Any:
        if self._again:
            config = self._again.pop(0)
            self._numbers[trial_id] = config["number"]
            return dict(config)
        if len(self._session.running) >= self._room():
            return None
        assignment = self._session.propose()
        if assignment is None:
            return Searcher.FINISHED if self._session.done else None
        self._numbers[trial_id] = assignment.number
        member = {} if assignment.recipe is None else {"recipe": dict(assignment.recipe), "parent": assignment.parent}
        return {"number": assignment.number, "architecture": assignment.architecture.to_dict(), "member": member}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "halt" in result:
            self._session.halt(result["halt"])
        elif "failure" in result:
            self._failures[trial_id] = result["failure"]
        elif "epoch" in result:
            self._session.on_epoch(self._numbers[trial_id], result)
        elif measured := _measured(result):
            self._session.on_measured(self._numbers[trial_id], measured)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False, **_: Any
    ) -> None:
        if error:
            return  # LostWorkers knows why
        self.on_trial_result(trial_id, result or {})
        self.end(trial_id, self._failures.pop(trial_id, None))

    def enough(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether a trial is to end here, for good or to wait for others."""
        if "epoch" in result:
            return self._session.rests_after(self._numbers[trial_id], result["epoch"])
        return self._session.beyond_limits(self._numbers[trial_id], _measured(result))

    @property
    def failed(self) -> bool:
        """The session has stopped because of failures."""
        return self._session.failed

    def end(self, trial_id: str, failure: str | None) -> None:
        """A trial came to its end; `failure` is the reason where it failed."""
        self._session.on_end(self._numbers.pop(trial_id), failure=failure)

    def again(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """A trial could not be begun; the next one that Tune asks for is this one."""
        del self._numbers[trial_id]
        self._again.append(config)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LostWorkers(Callback):
    """Tells of worker processes that died: in a line while there are retries, and after that as the trial's end."""

    def __init__(
        self,
        searcher: SessionSearcher,
        say: Callable[[str], None],
        retries: int,
        verdict: Callable[[int], str | None],
    ) -> None:
        self._searcher, self._say, self._retries, self._verdict = searcher, say, retries, verdict

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        if self._verdict(trial.config["number"]) is not None:
            return  # its next process reports that at once
        again = f"starts again from its checkpoint ({trial.num_failures} of {self._retries} times)"
        self._say(f"trial {trial.config['number']:>4} lost its worker process and {again}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        if (verdict := self._verdict(trial.config["number"])) is not None:
            self._searcher.end(trial.trial_id, verdict)
            return
        if trial.num_failures <= self._retries:
            # Tune retries nothing that had not begun, as where the process that it was to reuse has died idle.
            self._searcher.again(trial.trial_id, trial.config)
            self._say(
                f"trial {trial.config['number']:>4} was given a worker process that had died; it gets another one"
            )
            return
        reason = "its worker process died, as after an out-of-memory kill, or could not start"
        self._searcher.end(trial.trial_id, f"{trial.get_pickled_error()}\n{reason}, more often than backend.retries")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Forgetting(Callback):
    """Empties trials that have ended: Tune keeps all of them to its end, each with 60 KB of what it was and reported.

    They leave Tune's list too, but for one: where that is empty at the end, Tune reads a file instead.
    """

    def __init__(self) -> None:
        self._nothing = Trial("nothing", stub=True).run_metadata

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        ended = [trial for trial in trials if trial.is_finished()]
        for trial in ended[:-1]:
            trials.remove(trial)
            left = {name: getattr(trial, name) for name in _NAMES_IT}
            vars(trial).clear()
            # The last is what Tune would write of it to a file.
            vars(trial).update(left, config={}, run_metadata=self._nothing, _state_json="")


class Enough(Stopper):
    """Ends a trial of which the session wants nothing more, and all trials once the session has failed."""

    def __init__(self, searcher: SessionSearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._searcher.enough(trial_id, result)

    def stop_all(self) -> bool:
        return self._searcher.failed

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _measured(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in FOUND if result.get(name) is not None}
