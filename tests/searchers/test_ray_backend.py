"""The seam to Ray Tune: early stopping, and trials that fail in every way they can."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from search_spaces.budget import Budget
from searchers import journal
from searchers.algorithms.random import RandomSearch
from searchers.config import RayBackend, Resources, SearchConfig
from searchers.prefilter import Prefilter
from searchers.record import COMPLETED, FAILED, PRUNED, REFUSED, RUNNING
from searchers.schedulers import Asha, NoScheduler
from searchers.study import JOURNAL, _SealedFile
from searchers.tracking.tracker import NoTracker
from searchers.watchdog import TrialLimits
from seqconv import Architecture
from tests.search_process import ray_cluster, records
from tests.searchers import fakes
from training.datasets import Digits
from training.trial import TrialConfig

EPOCHS = 3


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What a trial that trains nothing reports."""

    epoch: int
    validation_error: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a trial reports before it trains."""

    latency: float


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a trial reports before its last epoch."""

    reach: list[int | None]


def well(number: int, architecture: Architecture, **_: Any) -> Iterator[Metrics]:
    """A trial that trains nothing and improves."""
    for epoch in range(1, EPOCHS + 1):
        yield Metrics(epoch=epoch, validation_error=round(0.9 / epoch + 0.01 * number, 6))


def badly(
    number: int, architecture: Architecture, *, folder: Path, **settings: Any
) -> Iterator[Measured | Metrics | Learned]:
    """Trial 1 raises, 2 comes to report no number, 3 reports nothing, the worker of 4 dies once, and 5 is too slow."""
    died = (folder / "died").exists()
    yield Measured(latency=9.0 if number == 5 or (number == 4 and died) else 5.0 - number % 5)
    if number == 3:
        return
    for metrics in well(number, architecture, **settings):
        if number == 1 and metrics.epoch == 2:
            raise ZeroDivisionError("no learning today")
        if number == 2 and metrics.epoch >= 2:
            metrics = Metrics(epoch=metrics.epoch, validation_error=float("nan"))
        if metrics.epoch == EPOCHS:
            yield Learned(reach=[3, None])
        yield metrics
        if number == 4 and metrics.epoch == 1 and not died:
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def fatally(number: int, architecture: Architecture, **settings: Any) -> Iterator[Metrics]:
    """The worker of trial 1 always dies."""
    yield from well(number, architecture, **settings)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def greedily(number: int, architecture: Architecture, **settings: Any) -> Iterator[Metrics]:
    """Trial 1 hangs after an epoch, 2 takes more and more memory; both would do so again."""
    steps = well(number, architecture, **settings)
    yield next(steps)
    if number == 1:
        time.sleep(300)
    held = [b"x" * 10**8]
    while number == 2:
        held.append(bytes(held[-1]) + b"x")
    yield from steps


def nowhere(number: int, architecture: Architecture, *, folder: Path, **settings: Any) -> Iterator[Metrics]:
    """From trial 1 on, the disk takes nothing more until there is space."""
    for metrics in well(number, architecture, **settings):
        if number >= 1 and metrics.epoch == 2 and not (folder / "space").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield metrics


def never(number: int, architecture: Architecture, **_: Any) -> Iterator[Metrics]:
    raise RuntimeError(f"architecture {architecture.fingerprint()} is not to my taste")
    yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with ray_cluster() as address:
        yield address


def config(run: Path, address: str, **changes: Any) -> SearchConfig:
    """A search of five trials, one at a time."""
    settings: dict[str, Any] = {
        "search_space": fakes.space(),
        "searcher": RandomSearch(),
        "scheduler": NoScheduler(),
        "prefilter": Prefilter(),
        "dataset": Digits(),
        "trial": TrialConfig(epochs=EPOCHS, share=0.2),
        "budget": Budget(),
        "resources": Resources(gpu=0),
        "backend": RayBackend(address=address, retries=1),
        "tracker": NoTracker(),
        "objective": "error",
        "limits": {},
        "warm_start": None,
        "warm_start_top": 8,
        "trials": 5,
        "seed": 0,
        "run": str(run),
        "resume": None,
        "concurrency": 1,
        "trial_limits": TrialLimits(),
        "max_failures": 5,
        "keep_weights": 5,
        "report": False,
    }
    return SearchConfig(**{**settings, **changes})


@pytest.fixture(autouse=True)
def disconnected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test knows of the machine's own cluster, or stays in one."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield
    import ray

    ray.shutdown()


def test_what_tune_pickles_of_a_search_is_empty(tmp_path: Path) -> None:
    """Tune saves what it was given now and then; the store and its lock must not be in there."""
    from searchers import ray_backend, ray_schedulers

    session: Any = SimpleNamespace(lock=(_ for _ in ()))
    searcher = ray_backend.SessionSearcher(session, lambda: 1)
    settings: dict[str, Any] = {"objectives": ("error", "macs"), "measures": lambda number: session.lock}
    scheduler = ray_schedulers.make(Asha(), 9, **settings)
    parts = [
        searcher,
        scheduler,
        ray_backend.Enough(searcher),
        ray_backend.LostWorkers(searcher, print, 1, lambda number: None),
    ]
    assert [vars(cloudpickle.loads(cloudpickle.dumps(part))) for part in parts] == [{}] * 4


class TestLostWorkers:
    """What Tune says of processes that died."""

    def test_a_trial_that_could_not_be_begun_is_the_next_one(self, tmp_path: Path) -> None:
        """Tune does not try it again, as it was not running; the room is for it, also where it is all taken."""
        from searchers import ray_backend

        searcher = ray_backend.SessionSearcher(fakes.session(tmp_path), lambda: 1)
        said: list[str] = []
        lost = ray_backend.LostWorkers(searcher, said.append, 2, lambda _: None)
        config = searcher.suggest("a")
        assert searcher.suggest("b") is None
        searcher.on_trial_complete("a", error=True)
        lost.on_trial_error(1, [], SimpleNamespace(trial_id="a", config=config, num_failures=1))
        assert said == ["trial    0 was given a worker process that had died; it gets another one"]
        assert searcher.suggest("c") == config
        assert searcher.suggest("d") is None
        searcher.on_trial_complete("c", result={"failure": "Traceback"})
        assert [record.outcome for record in searcher._session.store.records()] == [FAILED]


def test_a_node_that_does_not_see_the_run_folder_fails_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joined later, or a start would have been refused."""
    from searchers import ray_backend

    reported: list[dict[str, Any]] = []
    monkeypatch.setattr(ray_backend.tune, "report", reported.append)
    monkeypatch.setattr(ray_backend.socket, "gethostname", lambda: "node7")
    settings: dict[str, Any] = {"share": None, "limits": TrialLimits(), "shared": {}}
    ray_backend._train_and_report({"number": 0}, train=well, folder=tmp_path / "run", **settings)
    assert reported == [{"failure": f"{tmp_path}/run is not there on node7: run= must be seen by every node"}]
    assert list(tmp_path.iterdir()) == []


class TestEnough:
    """The stopper that Tune asks at every result, before the searcher and the scheduler are told of it."""

    def asked(self, folder: Path) -> tuple[Any, Any]:
        """A searcher with a trial begun, and its stopper."""
        from searchers import ray_backend

        limits = {"latency": 5.0, "error": 0.1}
        session = fakes.session(folder, objectives=("error", "latency"), limits=limits, max_failures=1)
        searcher = ray_backend.SessionSearcher(session, lambda: 1)
        assert searcher.suggest("a")["number"] == 0
        return searcher, ray_backend.Enough(searcher)

    @pytest.mark.parametrize(
        ("result", "stops"),
        [
            ({"latency": 4.0}, False),
            ({"latency": 6.0}, True),
            ({"epoch": 1, "validation_error": 0.9}, False),
            ({"failure": "Traceback"}, False),
            ({"training_iteration": 1}, False),
        ],
    )
    def test_it_stops_what_measures_beyond_a_limit_and_that_alone(
        self, tmp_path: Path, result: dict[str, Any], stops: bool
    ) -> None:
        """An error is no reason, because it is not the last one."""
        searcher, stopper = self.asked(tmp_path)
        assert stopper("a", result) is stops
        assert not stopper.stop_all()
        if stops:
            searcher.on_trial_complete("a", result={**result, "done": True})
            (record,) = searcher._session.store.records()
            assert (record.outcome, record.facts["latency"]) == (REFUSED, 6.0)

    def test_what_was_measured_first_counts(self, tmp_path: Path) -> None:
        searcher, stopper = self.asked(tmp_path)
        searcher.on_trial_result("a", {"latency": 4.0})
        assert not stopper("a", {"latency": 6.0})

    def test_it_stops_all_once_the_session_has_failed(self, tmp_path: Path) -> None:
        searcher, stopper = self.asked(tmp_path)
        searcher.on_trial_complete("a", result={"failure": "Traceback"})
        assert stopper.stop_all()


class TestForgetting:
    """What is left of Tune's trials after a step."""

    def trial(self, status: str) -> Any:
        """One of Tune's, which has reported as much as ours do."""
        from ray.tune.experiment import Trial

        architecture = {f"stage{i}": {"blocks": 2, "groups": 8, "window": {"ratio": 0.5}} for i in range(3)}
        trial = Trial("train", stub=True, config={"number": 1, "architecture": architecture}, evaluated_params={"a": 1})
        for epoch in (1, 2, 3):
            numbers = {f"number{i}": float(i) for i in range(20)}
            trial.update_last_result({"training_iteration": epoch, "config": trial.config, **numbers})
        trial.set_status(status)
        return trial

    def test_ended_trials_are_emptied_and_leave_the_list_but_for_one(self) -> None:
        """Of an empty list Tune would read a file at its end."""
        from searchers import ray_backend

        trials = [self.trial(status) for status in ("TERMINATED", "RUNNING", "ERROR", "PENDING", "TERMINATED")]
        first, running, failed, waiting, last = trials
        states = [trial.get_json_state() for trial in (running, waiting, last)]
        ray_backend.Forgetting().on_step_end(1, trials)
        assert trials == [running, waiting, last]
        assert [trial.get_json_state() for trial in trials] == states
        for trial, status in ((first, "TERMINATED"), (failed, "ERROR")):
            assert (trial.status, trial.is_finished(), trial.num_failures) == (status, True, 0)
            assert len(str(trial.get_json_state())) < 1500 < 5000 < len(str(states[0]))
            assert str(trial).startswith("train_")
            assert len(cloudpickle.dumps(trial)) < 3000 < 10_000 < len(cloudpickle.dumps(running))

    def test_it_takes_what_has_ended_since(self) -> None:
        from searchers import ray_backend

        trials = [self.trial("TERMINATED"), self.trial("RUNNING")]
        running = trials[1]
        ray_backend.Forgetting().on_step_end(1, trials)
        assert len(trials) == 2
        running.set_status("TERMINATED")
        ray_backend.Forgetting().on_step_end(2, trials)
        assert trials == [running]


@pytest.mark.slow
class TestSearch:
    """On a running cluster, with trials that train nothing."""

    def run(self, config: SearchConfig, train: Any) -> int:
        from searchers.run import run_search

        return run_search(config, train_trial=train)

    def test_a_bad_trial_is_recorded_and_the_search_goes_on(
        self, cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Two objectives, of which one is measured before the training, and half of the trials stop at epoch 2."""
        run = tmp_path / "run"
        scheduler = Asha(grace_epochs=2, reduction_factor=2)
        settings: dict[str, Any] = {"objective": ["error", "latency"], "limits": {"latency": 6}, "scheduler": scheduler}
        assert self.run(config(run, cluster, trials=6, **settings), badly) == 0
        out, err = capfd.readouterr()
        assert err == ""
        found = records(run)
        assert [record.outcome for record in found] == [COMPLETED, FAILED, FAILED, FAILED, COMPLETED, REFUSED, PRUNED]
        assert [record.facts["latency"] for record in found] == [5.0, 4.0, 3.0, 2.0, 1.0, 9.0, 4.0]
        reasons = [record.facts.get("reason", "") for record in found]
        assert reasons[1].startswith("Traceback (most recent call last):") and "in badly" in reasons[1]
        assert reasons[1].rstrip().endswith("ZeroDivisionError: no learning today")
        assert found[1].errors == {1: 0.91}
        assert reasons[2] == "validation error nan after 3 epochs"
        assert reasons[3] == "the trial ended without a result"
        assert found[4].errors == {1: 0.94, 2: 0.49, 3: 0.34}
        assert (reasons[5], found[5].errors) == ("latency 9 is above its limit 6", {})
        assert found[6].errors == {1: 0.96, 2: 0.51}
        trained = [record.facts.get("reach") == [3, None] for record in found]
        assert trained == [record.epochs == EPOCHS for record in found]
        assert "trial    4 lost its worker process and starts again from its checkpoint (1 of 1 times)" in out
        assert "raylet" not in out

    def test_the_cluster_stays_and_takes_another_search(
        self, cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which is found by itself, and whose worker dies more often than allowed."""
        monkeypatch.setenv("RAY_ADDRESS", cluster)
        run = tmp_path / "run"
        backend = RayBackend(address="auto", retries=0)
        assert self.run(config(run, cluster, backend=backend, trials=3), fatally) == 0
        out, err = capfd.readouterr()
        assert err == ""
        assert "(new), 1 trials at a time on 2 CPUs, 0 GPUs" in out
        found = records(run)
        assert [record.outcome for record in found] == [COMPLETED, FAILED, COMPLETED]
        last = "its worker process died, as after an out-of-memory kill, or could not start, more often than "
        assert found[1].facts["reason"].splitlines()[-1] == f"{last}backend.retries"
        assert f"{last}backend.retries  [2/3" in out

    def test_a_trial_that_hangs_or_takes_all_memory_costs_itself_alone(
        self, cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """They are not tried again, whatever backend.retries is, and what follows is trained by fresh processes."""
        run = tmp_path / "run"
        limits = {"timeout": 10, "memory": 1.5}
        assert self.run(config(run, cluster, trials=4, trial_limits=limits), greedily) == 0
        out, err = capfd.readouterr()
        assert err == "" and "lost its worker" not in out
        found = records(run)
        assert [record.outcome for record in found] == [COMPLETED, FAILED, FAILED, COMPLETED]
        place = "what it was doing stands in 0001/ended.txt"
        assert found[1].facts["reason"] == f"no epoch within 10 s (trial_limits.timeout); {place}"
        assert "in greedily" in (run / "trials" / "0001" / "ended.txt").read_text()
        assert found[2].facts["reason"].startswith("memory: its process took 1.")
        assert [sorted(record.errors) for record in found] == [[1, 2, 3], [1], [1], [1, 2, 3]]

    def test_a_full_disk_and_one_that_is_read_only_end_the_search_and_no_trial(
        self, cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first is met by a trial; the second, which follows when there is space again, by the journal."""
        run = tmp_path / "run"
        assert self.run(config(run, cluster, trials=3), nowhere) == 1
        message = "stopped: OSError: [Errno 28] No space left on device; once that is mended, the same command goes on"
        assert capfd.readouterr().err == f"error: {message}\n"
        before = records(run)
        assert [(record.outcome, sorted(record.errors)) for record in before] == [
            (COMPLETED, [1, 2, 3]),
            (RUNNING, [1]),
        ]
        (run / "space").touch()
        written = _SealedFile.append_logs

        def refuse(file: _SealedFile, logs: list[dict[str, Any]]) -> None:
            if any(log["op_code"] == journal.EPOCH for log in logs):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), JOURNAL)
            written(file, logs)

        with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
            patch.setattr(_SealedFile, "append_logs", refuse)
            self.run(config(run, cluster, trials=3), nowhere)
        message = f"[Errno 30] Read-only file system: '{JOURNAL}'; once that is mended, go on with: python "
        assert str(caught.value).startswith(message)
        assert str(caught.value).endswith(f" run={run} resume=true")
        assert records(run) == before
        assert self.run(config(run, cluster, trials=3), nowhere) == 0
        assert [record.outcome for record in records(run)] == [COMPLETED] * 3
        assert records(run)[0] == before[0]

    def test_failures_in_a_row_stop_the_search(
        self, cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        run = tmp_path / "run"
        assert self.run(config(run, cluster, max_failures=2, concurrency=2), never) == 1
        assert capfd.readouterr().err.startswith(
            "error: stopped: 2 trials failed in a row; the last one: RuntimeError: architecture "
        )
        assert len(records(run)) <= 4
        assert {record.outcome for record in records(run)} <= {FAILED, "running"}

    def test_more_than_there_is(self, cluster: str, tmp_path: Path) -> None:
        for resources, message in (
            (Resources(cpu=3, gpu=0), "resources.cpu=3 is more than there is: 2 CPUs at backend.address="),
            (Resources(cpu=1, gpu=1), "resources.gpu=1 is more than there is: 0 GPUs at backend.address="),
        ):
            with pytest.raises(ValueError, match=message):
                self.run(config(tmp_path / "run", cluster, resources=resources), well)
        assert not (tmp_path / "run").exists()

    def test_one_search_at_a_time_in_a_folder(
        self, cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        from filelock import FileLock

        run = tmp_path / "run"
        assert self.run(config(run, cluster, trials=1), well) == 0
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        with (
            FileLock(run / ".lock"),
            pytest.raises(ValueError, match=r"run: another search is running in this folder"),
        ):
            self.run(config(run, cluster, trials=2, resume=True), well)
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
