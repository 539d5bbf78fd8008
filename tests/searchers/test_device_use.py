from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from searchers import device_use
from searchers.device_use import DeviceUse


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.25, 9.0, 9.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def telling(code: str) -> list[str]:
    """Stands for nvidia-smi."""
    return [sys.executable, "-c", code]


def text_with(use: DeviceUse, part: str) -> str:
    """What it says, once that has come."""
    until = time.monotonic() + 20
    while part not in use.text() and time.monotonic() < until:
        time.sleep(0.01)
    return use.text()


def test_the_load_of_the_cpu() -> None:
    before = threading.active_count()
    assert DeviceUse(gpus=False).text() == "CPU load 1.2 of 2 cores"
    assert threading.active_count() == before


def test_a_machine_without_the_command_has_no_gpu_to_tell_of() -> None:
    before = threading.active_count()
    assert DeviceUse(gpus=True, ask=["no-such-command"]).text() == "CPU load 1.2 of 2 cores"
    assert threading.active_count() == before


@pytest.mark.parametrize(("said", "told"), [("87\\n", ", GPU 87% busy"), ("100\\n0\\n50\\n50\\n", ", 4 GPUs 50% busy")])
def test_gpus_are_told_of_together(said: str, told: str) -> None:
    use = DeviceUse(gpus=True, ask=telling(f"print('{said}', end='')"))
    assert text_with(use, "GPU") == f"CPU load 1.2 of 2 cores{told}"
    use.close()


@pytest.mark.parametrize("code", ["print('[N/A]')", "raise SystemExit(9)", "print()", "import time; time.sleep(60)"])
def test_a_driver_that_does_not_say_is_left_out(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_use, "EVERY", 0.5)
    assert device_use._percentages(telling(code)) == []


def test_it_asks_again_until_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_use, "EVERY", 0.01)
    answers = iter([[10.0], [20.0]])
    monkeypatch.setattr(device_use, "_percentages", lambda ask: next(answers, [30.0]))
    use = DeviceUse(gpus=True, ask=telling(""))
    assert "30% busy" in text_with(use, "30%")
    (thread,) = [t for t in threading.enumerate() if t.name == "gpu-use"]
    use.close()
    thread.join(10)
    assert not thread.is_alive()
