from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
import torch

from searchers import environment
from seqconv.native import library
from seqconv.serialization import to_yaml


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "unavailable", lambda: None)


def test_what_is_needed_to_run_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["search.py", "trials=3", "run=my runs/1"])
    described = environment.describe("2 CPUs, 0 GPUs", "digits of scikit-learn")
    assert described["command"] == "search.py trials=3 'run=my runs/1'"
    assert described["python"] == ".".join(map(str, sys.version_info[:3]))
    assert described["packages"]["optuna"] == version("optuna")
    assert (described["cluster"], described["dataset_source"]) == ("2 CPUs, 0 GPUs", "digits of scikit-learn")
    assert described["cpu"]["cores"] >= 1
    assert described["cpu"]["model"]
    assert "written: '20" in to_yaml(described)


def test_whether_layers_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.describe("", "")["cpu"]["native"] == torch.backends.cpu.get_cpu_capability()
    monkeypatch.setattr(library, "unavailable", lambda: "SEQCONV_NATIVE is 0")
    assert environment.describe("", "")["cpu"]["native"] == "no: SEQCONV_NATIVE is 0"


@pytest.mark.parametrize("found", ["1f" * 20, "1f" * 20 + "-dirty"])
def test_the_commit_says_whether_files_differ(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    done = subprocess.CompletedProcess([], 0, stdout=f"{found}\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert environment.describe("", "")["commit"] == found


@pytest.mark.parametrize(
    "error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git"), subprocess.TimeoutExpired("git", 10)]
)
def test_outside_a_checkout_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fails)
    assert environment.describe("", "")["commit"] is None


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_PACKAGES", ("torch", "no-such-package"))
    assert environment.describe("", "")["packages"] == {"torch": version("torch"), "no-such-package": None}
