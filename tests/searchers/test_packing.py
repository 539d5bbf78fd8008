"""The share of a GPU that every trial takes; the GPUs are made up, because here there is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from search_spaces.fixed import FixedSpace
from searchers import packing, ray_cluster, run
from searchers.config import RayBackend, Resources
from seqconv import measure
from tests.searchers.fakes import drawn, space
from tests.searchers.test_config import VALID
from tests.training.test_memory import saved
from tests.training.tiny import CLASSES, CONFIG, split
from training import memory
from training.fidelity import fidelities
from training.trainer import Trainer
from training.trial import TrialConfig

GB = 10**9
CLUSTER = RayBackend(address="auto")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives this machine GPUs of so many GB."""

    def have(*sizes: int) -> None:
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: len(sizes))
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda i: sizes[i])
        monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda size: SimpleNamespace(total=size * GB))

    return have


@pytest.mark.parametrize(
    ("part", "share"),
    [(0.0, 0.125), (0.125, 0.125), (0.126, 0.25), (0.25, 0.25), (0.3, 0.5), (0.51, 1.0), (1.0, 1.0), (7.0, 1.0)],
)
def test_the_least_share_that_holds_or_all_there_is(part: float, share: float) -> None:
    assert packing.share_of(part) == share


class TestResolved:
    def found(self, backend: RayBackend, needed: float = 5 * GB, **resources: Any) -> tuple[Any, list[str]]:
        said: list[str] = []
        asked = Resources(**{"cpu": 2, "gpu": "auto", **resources})
        found = packing.resolved(asked, backend, lambda: needed, said.append)
        assert found.cpu == 2
        return found.gpu, said

    def test_of_the_smallest_gpu_of_this_machine(self, gpus: Callable[..., None]) -> None:
        gpus(80, 24, 40)
        line = "resources.gpu=0.25: a trial takes up to 5.00 GB of a GPU of 24 GB, by estimate"
        assert self.found(RayBackend()) == (0.25, [line])

    def test_of_a_gpu_whose_size_is_given(self) -> None:
        for backend in (RayBackend(gpus=1), CLUSTER):
            line = "resources.gpu=0.125: a trial takes up to 5.00 GB of a GPU of 80 GB, by estimate"
            assert self.found(backend, gpu_memory=80) == (0.125, [line])

    @pytest.mark.parametrize("there", [(), (80,)])
    def test_without_a_gpu_nothing_changes(self, there: tuple[int, ...], gpus: Callable[..., None]) -> None:
        gpus(*there)
        assert self.found(RayBackend(gpus=0 if there else None)) == (None, [])

    def test_without_a_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

        monkeypatch.setattr(pynvml, "nvmlInit", refuse)
        assert self.found(RayBackend()) == (None, [])

    @pytest.mark.parametrize("gpu", [None, 0, 0.5, 2])
    def test_what_is_given_stays(self, gpu: float | None) -> None:
        assert self.found(CLUSTER, gpu=gpu) == (gpu, [])

    def test_a_cluster_whose_gpus_are_not_known(self) -> None:
        with pytest.raises(ValueError) as caught:
            self.found(CLUSTER)
        assert str(caught.value) == (
            "resources.gpu=auto: how much memory the GPUs of the cluster have is not known here; give that of the "
            "smallest in GB, such as resources.gpu_memory=80"
        )


class TestEstimate:
    def test_it_is_of_the_network_that_keeps_most(self) -> None:
        some = [measure(space().decode(drawn(i)), resolution=8, classes=CLASSES).activation_bytes for i in range(20)]
        assert packing.largest(space(), CONFIG, 8, CLASSES).activation_bytes >= max(some)

    @pytest.mark.parametrize("changes", [{}, {"width": 0.5}, {"resolution": {1: 4, 3: 8}}, {"resolution": 4}])
    @pytest.mark.parametrize("number", [0, 1, 5])
    def test_it_holds_what_is_kept_and_not_much_more(self, number: int, changes: Any) -> None:
        """All but the process's own, which a CPU has not: the images, what autograd saves of a batch, the weights."""
        data, config = split(64), replace(CONFIG, **changes)
        epochs = fidelities(config, data, epochs=4)
        of = FixedSpace(architecture=space().decode(drawn(number)).to_dict())
        estimate = packing.most_needed(of, config, data, epochs, CLASSES) - memory.CONTEXT_BYTES
        trainer = Trainer(of.decode({}), data, config, epochs=4, classes=CLASSES, seed=0, place=torch.device("cpu"))
        trainer._hold(epochs[-1])
        weights = sum(parameter.nbytes for parameter in trainer.model.parameters())
        taken = saved(trainer) + 3 * weights + trainer.images.nbytes + trainer.validation[0].nbytes
        assert taken < estimate < 1.5 * taken


def test_a_search_asks_ray_for_it_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Asked(Exception):
        """What Ray was asked for, in place of starting it."""

    def connect(backend: RayBackend, resources: Resources, *_: Any, **__: Any) -> None:
        raise Asked(resources)

    monkeypatch.setattr(ray_cluster, "connect", connect)
    resources = Resources(gpu="auto", gpu_memory=2)
    with pytest.raises(Asked) as asked:
        run.run_search(replace(VALID, run=str(tmp_path / "run"), resources=resources, trial=TrialConfig(batch_size=16)))
    assert asked.value.args == (Resources(gpu=0.5),)
    assert re.search(r"^resources.gpu=0.5: a trial takes up to 0\.\d\d GB of a GPU of 2 GB, by estimate$",
                     capsys.readouterr().out, re.MULTILINE)  # fmt: skip
