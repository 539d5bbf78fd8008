from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest
import torch

from tests.training.fake_nvml import Driver
from training.nvml import Gpu, gpu

CUDA = torch.device("cuda:0")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    found = Driver()
    found.install(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1234"))
    return found


def test_a_gpu_is_found_by_its_own_name(driver: Driver) -> None:
    found = gpu(CUDA)
    assert found == Gpu("GPU-1234")
    assert driver.asked == ["GPU-1234"]
    assert found.utilisation() == 0.5
    first, second = found.joules(), found.joules()
    assert first is not None and second is not None and second >= first > 0


def test_a_driver_that_does_not_count_energy(driver: Driver) -> None:
    driver.counts = False
    assert Gpu("GPU-1234").joules() is None


def test_a_cpu_has_no_gpu(driver: Driver) -> None:
    assert gpu(torch.device("cpu")) is None
    assert driver.asked == []


@pytest.mark.parametrize("what", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_a_driver_that_tells_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    monkeypatch.setattr(pynvml, what, refuse)
    assert gpu(CUDA) is None


def test_a_utilisation_that_is_not_told(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", refuse)
    assert Gpu("GPU-1234").utilisation() is None
