from __future__ import annotations

import threading
import time

import pytest

from tests.training.fake_nvml import Driver
from training.gpu_use import GpuUse, Used
from training.nvml import Gpu


def watched() -> bool:
    return any(thread.name == "gpu-use" for thread in threading.enumerate())


def until(wanted: bool) -> None:
    end = time.monotonic() + 10
    while watched() != wanted:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_no_gpu_tells_nothing_and_is_not_watched() -> None:
    with GpuUse(None) as use:
        assert not watched()
        assert use.read() == Used(gpu_utilisation=None, gpu_joules=None)


def test_the_mean_and_the_energy_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    driver.install(monkeypatch)
    start = time.perf_counter()
    with GpuUse(Gpu("GPU-1"), every=0.01) as use:
        time.sleep(0.1)
        first = use.read()
        driver.busy = 100
        time.sleep(0.1)
        use.read()
        last = use.read()  # at once: nobody has looked since
        whole = time.perf_counter() - start
    until(False)
    assert first.gpu_utilisation == 0.5
    assert first.gpu_joules is not None and last.gpu_joules is not None
    assert 200 * 0.1 <= first.gpu_joules <= 200 * whole
    assert last.gpu_utilisation == 1 and last.gpu_joules < first.gpu_joules


def test_an_error_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver().install(monkeypatch)
    with pytest.raises(RuntimeError, match="diverged"), GpuUse(Gpu("GPU-1"), every=0.01):
        assert watched()
        raise RuntimeError("diverged")
    until(False)


def test_a_driver_that_does_not_count_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver(counts=False).install(monkeypatch)
    with GpuUse(Gpu("GPU-1")) as use:
        assert use.read() == Used(gpu_utilisation=0.5, gpu_joules=None)
