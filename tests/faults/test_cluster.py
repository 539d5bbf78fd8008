"""A search on a cluster of several nodes: what they are sent, one that joins late, one that is lost.

The nodes are raylets with their own resources on this machine, and mounts of their own where that is allowed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces.budget import Budget
from searchers.algorithms.random import RandomSearch
from searchers.config import RayBackend, Resources, SearchConfig
from searchers.prefilter import Prefilter
from searchers.proxy_trial import train_proxy
from searchers.record import COMPLETED, RUNNING, TrialRecord
from searchers.schedulers import NoScheduler
from searchers.tracking.tracker import NoTracker
from searchers.watchdog import TrialLimits
from seqconv import Architecture
from tests.search_process import PATIENCE, ROOT, can_hide, ray_cluster, ray_node, raylet, records
from tests.searchers import fakes
from training.data import ImageData, Proxy
from training.datasets import Digits
from training.trial import TrialConfig

pytestmark = pytest.mark.slow

EPOCHS = 4
HELD_FROM, HELD_AT = 2, 2
"""Trials from this one on pause after that epoch until the test lets them go."""
CODE = [ROOT / name for name in ("seqconv", "search_spaces", "training", "searchers", "promotion", "reporting")]
IMAGES = 4000


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What a trial that trains nothing reports."""

    epoch: int
    validation_error: float


def place() -> str:
    """Which node this runs on, and where it has the code from."""
    import ray

    import seqconv

    return f"{ray.get_runtime_context().get_node_id()} {seqconv.__file__}\n"


def held(number: int, architecture: Architecture, *, folder: Path, **settings: Any) -> Iterator[Any]:
    """A real trial, which notes where it was begun and may pause."""
    notes = folder / "trials" / f"{number:04d}" / "place.txt"
    with notes.open("a") as file:
        file.write(place())
    for metrics in train_proxy(number, architecture, folder=folder, **settings):
        yield metrics
        while getattr(metrics, "epoch", 0) == HELD_AT and number >= HELD_FROM and not (folder / "go").exists():
            time.sleep(0.05)


def idle(number: int, architecture: Architecture, *, folder: Path, split: Any, **_: Any) -> Iterator[Metrics]:
    """A trial that does nothing with its images, but takes a moment."""
    assert split.train_images.shape == (IMAGES * 9 // 10, 3, 32, 32)
    (folder / "trials" / f"{number:04d}" / "place.txt").write_text(place())
    time.sleep(0.3)
    yield Metrics(epoch=1, validation_error=0.5)


def both(number: int, architecture: Architecture, *, folder: Path, **settings: Any) -> Iterator[Metrics]:
    """The same; the first two run at the same time, each of them on a node of its own.

    Did one not wait for the other, its worker would take that trial too while the other node's is still starting.
    """
    (folder / f"begun-{number}").touch()
    while number < 2 and not (folder / f"begun-{1 - number}").exists():
        time.sleep(0.05)
    yield from idle(number, architecture, folder=folder, **settings)


class Noise:
    """Twelve megabytes of images."""

    def load(self) -> ImageData:
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
        labels = np.arange(IMAGES) % 4
        return ImageData(
            name="noise",
            train_images=images,
            train_labels=labels,
            test_images=images[:8],
            test_labels=labels[:8],
            class_names=("a", "b", "c", "d"),
            source="made up",
            proxy=Proxy(epochs=1, share=1, validation_limit=None),
        )


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A node with room for one trial."""
    with ray_cluster(cpus=1) as address:
        yield address


@pytest.fixture
def cluster(head: str) -> Iterator[str]:
    """The head alone, once it has noticed that the nodes of the test before are lost."""
    deadline = time.monotonic() + PATIENCE
    while nodes(head) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    yield head
    import ray

    ray.shutdown()


@contextlib.contextmanager
def joined(address: str) -> Iterator[list[dict[str, Any]]]:
    """The nodes, to a process that has joined them."""
    import ray

    from searchers.ray_cluster import alive

    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield alive()
    finally:
        ray.shutdown()


def nodes(address: str) -> int:
    with joined(address) as alive:
        return len(alive)


def bytes_by_node(address: str) -> dict[str, int]:
    """How much was ever put into the object store of each node."""
    from ray._private.internal_api import node_stats

    with joined(address) as alive:
        stats = {node["NodeID"]: node_stats(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in alive}
        return {node: of_node.store_stats.cumulative_created_bytes for node, of_node in stats.items()}


def config(run: Path, address: str, **changes: Any) -> SearchConfig:
    settings: dict[str, Any] = {
        "search_space": fakes.space(),
        "searcher": RandomSearch(),
        "scheduler": NoScheduler(),
        "prefilter": Prefilter(),
        "dataset": Digits(),
        "trial": TrialConfig(epochs=EPOCHS, share=0.1, validation_limit=50, batch_size=32),
        "budget": Budget(),
        "resources": Resources(gpu=0),
        "backend": RayBackend(address=address),
        "tracker": NoTracker(),
        "objective": "error",
        "limits": {},
        "warm_start": None,
        "warm_start_top": 8,
        "trials": 6,
        "seed": 0,
        "run": str(run),
        "resume": None,
        "concurrency": None,
        "trial_limits": TrialLimits(),
        "max_failures": 5,
        "keep_weights": 5,
        "report": False,
    }
    return SearchConfig(**{**settings, **changes})


def search(of: SearchConfig, train: Any) -> int:
    from searchers.run import run_search

    return run_search(of, train_trial=train)


def places(run: Path) -> list[list[tuple[str, str]]]:
    """For each trial, the nodes on which it was begun, and where they had the code from."""
    notes = sorted((run / "trials").glob("*/place.txt"))
    return [[(line.split()[0], line.split()[1]) for line in note.read_text().splitlines()] for note in notes]


def wait(run: Path, until: Callable[[list[TrialRecord]], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until(records(run)):
        assert time.monotonic() < deadline, records(run)
        time.sleep(0.1)


def epochs(found: list[TrialRecord], number: int) -> int:
    return found[number].epochs if number < len(found) else 0


def sent(file: str) -> bool:
    """Whether a module is of what the search sent to its node."""
    return re.search(r"/working_dir_files/_ray_pkg_\w+/seqconv/__init__\.py$", file) is not None


class Story(threading.Thread):
    """What happens to the cluster while the search runs; what goes wrong with it fails the test and ends the search."""

    def __init__(self, run: Path, tell: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._run, self._tell, self.error = run, tell, ""

    def run(self) -> None:
        try:
            self._tell()
        except BaseException as error:
            self.error = repr(error)
        finally:
            (self._run / "go").touch()


def test_a_node_joins_late_and_another_is_lost(cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    late: list[str] = []
    with ray_node(f"--address={cluster}", "--num-cpus=1", hides=CODE if can_hide() else []) as first:

        def tell() -> None:
            wait(run, lambda found: min(epochs(found, 2), epochs(found, 3)) >= HELD_AT)
            with ray_node(f"--address={cluster}", "--num-cpus=1"):
                wait(run, lambda found: epochs(found, 4) >= HELD_AT)
                late.append(places(run)[4][0][0])
                lost = raylet(first)
                assert lost is not None
                os.kill(lost, signal.SIGKILL)
                time.sleep(1)
                (run / "go").touch()
                wait(run, lambda found: len(found) == 6 and all(r.outcome != RUNNING for r in found))

        run.mkdir()
        story = Story(run, tell)
        story.start()
        assert search(config(run, cluster), held) == 0
        story.join()
        assert story.error == ""
    out, err = capfd.readouterr()
    assert err == ""
    assert [record.outcome for record in records(run)] == [COMPLETED] * 6
    assert [sorted(record.errors) for record in records(run)] == [[*range(1, EPOCHS + 1)]] * 6
    for number in range(6):
        rows = (run / "trials" / f"{number:04d}" / "metrics.csv").read_text().splitlines()
        assert [row.partition(",")[0] for row in rows[1:]] == [str(epoch) for epoch in range(1, EPOCHS + 1)]
    begun = places(run)
    assert sorted(map(len, begun)) == [1, 1, 1, 1, 1, 2]
    assert all(sent(file) for of_trial in begun for _, file in of_trial)
    lost, elsewhere = next(of_trial for of_trial in begun if len(of_trial) == 2)
    assert lost[0] not in {elsewhere[0], *late}
    assert len({node for of_trial in begun for node, _ in of_trial}) == 3
    assert "(new), 2 trials at a time on 2 CPUs, 0 GPUs" in out
    assert "the cluster has 3 CPUs, 0 GPUs: 3 at a time, 2 before" in out
    assert out.count("lost its worker process and starts again from its checkpoint (1 of 2 times)") == 1


def test_images_are_sent_once_to_each_node(cluster: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trial = TrialConfig(epochs=1, share=1, batch_size=32)
    with ray_node(f"--address={cluster}", "--num-cpus=1"):
        before = bytes_by_node(cluster)
        assert search(config(run, cluster, dataset=Noise(), trial=trial, trials=8), both) == 0
        grown = {node: size - before[node] for node, size in bytes_by_node(cluster).items()}
    by_node = [node for ((node, _),) in places(run)]
    assert len(by_node) == 8 and set(by_node) == set(grown) and len(grown) == 2
    size = IMAGES * 3 * 32 * 32
    assert {node: 1 <= bytes_ / size < 1.5 for node, bytes_ in grown.items()} == dict.fromkeys(grown, True), grown


@pytest.mark.skipif(not can_hide(), reason="a folder that other nodes do not see takes leave to make mounts")
def test_a_run_folder_that_is_not_shared_is_refused(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    run = tmp_path / "runs" / "run"
    node = ray_node(f"--address={cluster}", "--num-cpus=1", hides=[tmp_path / "runs"])
    with node, pytest.raises(ValueError) as caught:
        search(config(run, cluster), held)
    assert re.fullmatch(
        rf"run={run}: {tmp_path}/runs is not shared by [\d.]+ \(does not see it\); "
        "it must be on storage that all nodes share, under the same path",
        str(caught.value),
    )
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_search_waits_for_the_nodes_it_takes(cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One node has room for one trial; of two at a time the other one waits for it."""
    run, started = tmp_path / "run", threading.Event()

    def tell() -> None:
        with ray_node(f"--address={cluster}", "--num-cpus=2"):
            started.wait(PATIENCE)

    run.mkdir()
    story = Story(run, tell)
    story.start()
    backend = RayBackend(address=cluster, wait=120)
    settings: dict[str, Any] = {"resources": Resources(cpu=2, gpu=0), "concurrency": 2, "trials": 3}
    trial = TrialConfig(epochs=1, share=1, batch_size=32)
    code = search(config(run, cluster, backend=backend, dataset=Noise(), trial=trial, **settings), idle)
    started.set()
    story.join()
    assert (code, story.error) == (0, "")
    out, err = capfd.readouterr()
    assert err == ""
    waiting = r"waiting for nodes to join: resources.cpu=2 is more than there is: 1 CPUs at backend.address="
    assert re.search(rf"{waiting}{cluster} \(backend.wait, 1\d\d s left; Ctrl-C ends it\)\n", out)
    assert "concurrency=2: there is room for 1 at a time, the others wait for nodes to join" in out
    assert [record.outcome for record in records(run)] == [COMPLETED] * 3
