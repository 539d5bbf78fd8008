"""The seam to Ray Tune: early stopping, and trials that fail in every way they can."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from search_spaces.budget import Budget
from searchers.config import RayBackend, Resources, SearchConfig
from searchers.record import COMPLETED, FAILED, PRUNED, TrialRecord
from searchers.samplers import Random
from searchers.schedulers import Asha, NoScheduler, Scheduler
from searchers.tracking.tracker import NoTracker
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


def well(number: int, architecture: Architecture, **_: Any) -> Iterator[Metrics]:
    """A trial that trains nothing and improves."""
    for epoch in range(1, EPOCHS + 1):
        yield Metrics(epoch=epoch, validation_error=round(0.9 / epoch + 0.01 * number, 6))


def badly(number: int, architecture: Architecture, *, folder: Path, **settings: Any) -> Iterator[Metrics]:
    """Trial 1 raises, 2 comes to report no number, 3 reports nothing, and the worker of 4 dies once."""
    if number == 3:
        return
    for metrics in well(number, architecture, **settings):
        if number == 1 and metrics.epoch == 2:
            raise ZeroDivisionError("no learning today")
        if number == 2 and metrics.epoch >= 2:
            metrics = Metrics(epoch=metrics.epoch, validation_error=float("nan"))
        yield metrics
        if number == 4 and metrics.epoch == 2 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def fatally(number: int, architecture: Architecture, **settings: Any) -> Iterator[Metrics]:
    """The worker of trial 1 always dies."""
    yield from well(number, architecture, **settings)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)


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
        "searcher": Random(),
        "scheduler": NoScheduler(),
        "dataset": Digits(),
        "trial": TrialConfig(epochs=EPOCHS, share=0.2),
        "budget": Budget(),
        "resources": Resources(gpu=0),
        "backend": RayBackend(address=address, retries=1),
        "tracker": NoTracker(),
        "trials": 5,
        "seed": 0,
        "run": str(run),
        "resume": None,
        "concurrency": 1,
        "max_failures": 5,
        "keep_weights": 5,
    }
    return SearchConfig(**{**settings, **changes})


@pytest.fixture(autouse=True)
def disconnected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test knows of the machine's own cluster, or stays in one."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield
    import ray

    ray.shutdown()


class TestScheduler:
    """Rungs at epochs 1 and 3, of which a third of the trials goes on."""

    def scheduler(self, history: list[TrialRecord], scheduler: Scheduler | None = None, epochs: int = 9) -> Any:
        from searchers import ray_backend

        return ray_backend._scheduler(scheduler or Asha(), epochs, history)

    def decision(self, history: list[TrialRecord], error: float, epoch: int = 1) -> str:
        made = self.scheduler(history)
        trial = SimpleNamespace(trial_id="new")
        made.on_trial_add(None, trial)
        decision: str = made.on_trial_result(None, trial, {"epoch": epoch, "validation_error": error})
        return decision

    def ended(self, *outcomes: str) -> list[TrialRecord]:
        """Trials with an error of 0.1, 0.2, ... after their first epoch, and of half of that after their third."""
        return [
            TrialRecord(
                number=i, outcome=outcome, values={}, errors={1: 0.1 * (i + 1), 2: 0.08 * (i + 1), 3: 0.05 * (i + 1)}
            )
            for i, outcome in enumerate(outcomes)
        ]

    def test_the_first_trial_goes_on(self) -> None:
        assert self.decision([], 0.9) == "CONTINUE"

    def test_a_trial_is_measured_by_those_before_the_restart(self) -> None:
        history = self.ended(COMPLETED, PRUNED, PRUNED, COMPLETED)
        assert self.decision(history, 0.9) == "STOP"
        assert self.decision(history, 0.05) == "CONTINUE"
        assert self.decision(history, 0.16, epoch=3) == "STOP"
        assert self.decision(history, 0.01, epoch=3) == "CONTINUE"

    def test_what_failed_or_was_not_trained_is_no_measure(self) -> None:
        assert self.decision(self.ended(FAILED, "refused", "duplicate", "running"), 0.9) == "CONTINUE"

    def test_failed_trials_report_no_error(self) -> None:
        made = self.scheduler([])
        trial = SimpleNamespace(trial_id="new")
        made.on_trial_add(None, trial)
        assert made.on_trial_result(None, trial, {"failure": "Traceback"}) == "CONTINUE"

    @pytest.mark.parametrize(("scheduler", "epochs"), [(NoScheduler(), 9), (Asha(grace_epochs=3), 3)])
    def test_nothing_stops_where_there_is_no_rung(self, scheduler: Scheduler, epochs: int) -> None:
        assert type(self.scheduler([], scheduler, epochs)).__name__ == "FIFOScheduler"


def test_what_tune_pickles_of_a_search_is_empty(tmp_path: Path) -> None:
    """Tune saves its searcher, stopper and callbacks now and then; the store and its lock must not be in there."""
    from searchers import ray_backend

    searcher = ray_backend.SessionSearcher(SimpleNamespace(lock=(_ for _ in ())), 1)  # type: ignore[arg-type]
    parts = [searcher, ray_backend.WhenSessionFails(searcher._session), ray_backend.LostWorkers(searcher, print, 1)]
    assert [vars(cloudpickle.loads(cloudpickle.dumps(part))) for part in parts] == [{}, {}, {}]


@pytest.mark.slow
class TestSearch:
    """On a running cluster, with trials that train nothing."""

    def run(self, config: SearchConfig, train: Any) -> int:
        from searchers.run import run_search

        return run_search(config, train_trial=train)

    def test_a_bad_trial_is_recorded_and_the_search_goes_on(
        self, cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        run = tmp_path / "run"
        assert self.run(config(run, cluster), badly) == 0
        out, err = capfd.readouterr()
        assert err == ""
        found = records(run)
        assert [record.outcome for record in found] == [COMPLETED, FAILED, FAILED, FAILED, COMPLETED]
        reasons = [record.facts.get("reason", "") for record in found]
        assert reasons[1].startswith("Traceback (most recent call last):") and "in badly" in reasons[1]
        assert reasons[1].rstrip().endswith("ZeroDivisionError: no learning today")
        assert found[1].errors == {1: 0.91}
        assert reasons[2] == "validation error nan after 3 epochs"
        assert reasons[3] == "the trial ended without a result"
        assert found[4].errors == {1: 0.94, 2: 0.49, 3: 0.34}
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
