"""A promotion that is killed, interrupted or robbed of a process ends with the weights that an unbroken one has."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqconv import write_architecture
from tests.promotion.fakes import architecture
from tests.search_process import PATIENCE, ROOT, Search, printed_command

pytestmark = pytest.mark.slow

EPOCHS = 4
SETTINGS = (
    "dataset=digits",
    "seeds=1",
    f"recipe.epochs={EPOCHS}",
    "recipe.batch_size=64",
    "recipe.ema=0.9",
    "recipe.checkpoint_every=0.1",
)


class Promotion(Search):
    """`python promote.py` of one small architecture, in a folder of its own."""

    def __init__(self, folder: Path, *settings: str) -> None:
        folder.mkdir(exist_ok=True)
        write_architecture(architecture(), folder / "small.yaml")
        super().__init__([str(ROOT / "promote.py"), "files=[small.yaml]", *SETTINGS, *settings], cwd=folder)
        self.folder = folder

    def wait_for_epochs(self, count: int) -> None:
        """Until so many are done, and a checkpoint was written in the middle of the next one."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            for file in self.folder.glob("promotions/*/candidates/*/cifar/seed-0/metrics.csv"):
                if len(file.read_text().splitlines()) > count:
                    return time.sleep(0.3)
            time.sleep(0.02)
        raise AssertionError(f"ended or hung before it came to that: {self._process.poll()}")


def trained(folder: Path) -> Path:
    """The folder of the only training of the only promotion."""
    (path,) = folder.glob("promotions/*/candidates/file-small/cifar/seed-0")
    return path


class Unbroken:
    """The promotion that nothing happens to; it runs beside the first test that compares with it."""

    def __init__(self, running: Promotion) -> None:
        self._running = running

    def weights(self) -> bytes:
        self._running.succeed()
        return (trained(self._running.folder) / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbroken]:
    with Promotion(tmp_path_factory.mktemp("unbroken") / "folder") as running:
        yield Unbroken(running)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder"


def test_a_killed_promotion_is_gone_on_with_by_the_same_command(folder: Path, unbroken: Unbroken) -> None:
    """At once, while its processes may be alive still."""
    with Promotion(folder) as running:
        running.wait_for_epochs(2)
        running.kill()
        before = (trained(folder) / "metrics.csv").read_text()
        with Promotion(folder) as again:
            stdout = again.succeed()
            assert again.leftovers() == []
    assert "(going on)" in stdout
    after = (trained(folder) / "metrics.csv").read_text()
    assert after.startswith(before) and len(after.splitlines()) == EPOCHS + 1
    assert (trained(folder) / "model.safetensors").read_bytes() == unbroken.weights()


def test_ctrl_c_leaves_a_promotion_that_the_printed_command_ends(folder: Path, unbroken: Unbroken) -> None:
    with Promotion(folder) as running:
        running.wait_for_epochs(1)
        running.signal(signal.SIGINT, group=True)
        code, stdout, stderr = running.end()
        assert (code, stderr) == (130, "")
        assert running.leftovers() == []
    message, _, command = stdout.splitlines()[-1].partition("; go on with: ")
    assert message == "interrupted"
    with printed_command(command, cwd=folder) as again:
        assert "(going on)" in again.succeed()
    assert (trained(folder) / "model.safetensors").read_bytes() == unbroken.weights()
    assert not list(folder.rglob(".ray")) and not list(folder.rglob("*.part"))


def test_a_killed_process_costs_no_training(folder: Path, unbroken: Unbroken) -> None:
    with Promotion(folder) as running:
        running.wait_for_epochs(1)
        workers = [pid for pid, command in running.processes().items() if command.startswith("ray::RayTrainWorker")]
        assert len(workers) == 1
        os.kill(workers[0], signal.SIGKILL)
        stdout = running.succeed()
    assert "file-small, cifar, seed 0: lost a process and starts again from its checkpoint (1 of 2 times)" in stdout
    assert (trained(folder) / "model.safetensors").read_bytes() == unbroken.weights()
