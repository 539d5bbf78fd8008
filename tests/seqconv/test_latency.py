from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seqconv
from seqconv import latency as module
from seqconv.architecture import Architecture, Stage
from seqconv.latency import Latency, main, measure_latency
from seqconv.serialization import to_yaml

SMALL = Architecture(stages=(Stage(blocks=1, group_width=8),), pyramid=(1,))
SHORT = 0.001


class Recorder(nn.Module):
    """Takes a millisecond an image, and remembers in which state it was called; copies share that memory."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.zeros(3)), list[Any]()

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        twin = Recorder()
        twin.calls = self.calls
        return twin

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((tuple(x.shape), x.dtype, self.training, torch.is_inference_mode_enabled(),
                           torch.get_num_threads()))  # fmt: skip
        time.sleep(0.001 * len(x))
        return x


def test_the_median_of_each_batch() -> None:
    found = measure_latency(Recorder(), 8, (1, 20), min_run_time=0.1)
    assert [(one.batch_size, one.resolution, one.compiled, one.threads) for one in found] == [
        (1, 8, False, 1), (20, 8, False, 1)
    ]  # fmt: skip
    for one in found:
        assert one.median_ms >= one.batch_size
        assert one.iqr_ms >= 0
        assert one.measurements >= 1
        assert one.images_per_second == pytest.approx(1000 * one.batch_size / one.median_ms)
        assert one.device and one.device != "cpu"


def test_it_runs_in_inference_on_random_images_and_leaves_the_model_as_it_is() -> None:
    model, threads = Recorder(), torch.get_num_threads()
    measure_latency(model, 8, [2], threads=2, min_run_time=SHORT)
    assert set(model.calls) == {((2, 3, 8, 8), torch.float32, False, True, 2)}
    assert model.training
    assert torch.get_num_threads() == threads


def test_a_network_keeps_its_statistics() -> None:
    network = seqconv.build(SMALL, classes=4)
    before = copy.deepcopy(network.state_dict())
    (found,) = measure_latency(network, 8, [3], min_run_time=SHORT)
    assert found.median_ms > 0
    assert network.training
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.slow
def test_compiled_too() -> None:
    found = measure_latency(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), 8, (1, 2), compiled=True, min_run_time=SHORT)
    assert [(one.batch_size, one.compiled) for one in found] == [(1, False), (1, True), (2, False), (2, True)]


def test_where_a_model_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler\nand more")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(ValueError) as error:
        measure_latency(Recorder(), 8, [1], compiled=True, min_run_time=SHORT)
    assert str(error.value) == "latency of a batch of 1 images of 8 px, compiled, on cpu: no C++ compiler"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 0}, "resolution must be an integer at least 1, got 0"),
        ({"batch_sizes": [1, 0]}, "batch size must be an integer at least 1, got 0"),
        ({"batch_sizes": []}, "batch_sizes must name at least one, got []"),
        ({"threads": 0}, "threads must be an integer at least 1, got 0"),
        ({"compiled": 1}, "compiled must be true or false, got 1"),
        ({"min_run_time": 0}, "min_run_time must be a number above 0, got 0"),
        ({"device": "cpus"}, "device cpus: Expected one of cpu, cuda, "),
        ({"device": "meta"}, "device meta: measures nothing"),
        ({"batch_sizes": [10**12]}, "latency of a batch of 1000000000000 images of 8 px, eager, on cpu: "),
    ],
)
def test_what_cannot_be_measured(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        measure_latency(Recorder(), **{"resolution": 8, "min_run_time": SHORT, **arguments})
    assert str(error.value).startswith(message)


def test_a_resolution_that_the_model_does_not_take() -> None:
    with pytest.raises(ValueError, match=r"^latency of a batch of 1 images of 2 px, eager, on cpu: .*[Kk]ernel size"):
        measure_latency(nn.Conv2d(3, 3, 5), 2, [1], min_run_time=SHORT)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, "--json", "--min-run-time", str(SHORT)]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    seqconv.write_architecture(SMALL, tmp_path / "architecture.yaml")
    return tmp_path / "architecture.yaml"


def test_the_command_on_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, str(file), "--batch", "1", "2")
    assert [(one["batch_size"], one["resolution"]) for one in found] == [(1, 32), (2, 32)]
    assert set(found[0]) == set(Latency.__dataclass_fields__)
    assert printed(capsys, str(file), "--batch", "1", "--resolution", "8")[0]["resolution"] == 8


def test_the_command_on_an_exported_folder(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = {"schema": "seqconv.model", "version": 2, "classes": 4, "weights": None, "resolution": 16}
    (file.parent / "model.yaml").write_text(to_yaml(described))
    assert printed(capsys, str(file.parent), "--batch", "1")[0]["resolution"] == 16
    assert printed(capsys, str(file.parent), "--batch", "1", "--resolution", "8")[0]["resolution"] == 8


def test_the_table_of_the_command(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Latency(
        device="Some CPU", threads=2, resolution=32, batch_size=1, compiled=False, median_ms=12.345, iqr_ms=0.5,
        measurements=9,
    )  # fmt: skip
    other = Latency(**{**asdict(one), "batch_size": 64, "compiled": True, "median_ms": 40.0})
    monkeypatch.setattr(module, "measure_latency", lambda *_, **__: [one, other])
    assert main([str(file), "--threads", "2"]) == 0
    assert capsys.readouterr().out == (
        f"{file} at 32 px on Some CPU, threads on the CPU: 2\n"
        " batch           median ms     IQR ms   images/s\n"
        "     1    eager      12.35       0.50         81\n"
        "    64 compiled      40.00       0.50      1,600\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar_c"], "cifar_c: no such preset or file (did you mean cifar_b"),
        (["FOLDER"], "FOLDER/model.yaml: no such file; an exported model folder has "),
        (["FOLDER", "--classes", "3"], "FOLDER: an exported model has its number of classes: leave --classes out"),
        (["FOLDER/architecture.yaml", "--batch", "0"], "batch size must be an integer at least 1, got 0"),
        (["FOLDER/architecture.yaml", "--classes", "0"], "classes must be an integer at least 1, got 0"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str], message: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.replace("FOLDER", str(file.parent)) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: " + message.replace("FOLDER", str(file.parent)))


def test_help_does_without_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "seqconv.latency", "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(module.__file__).parents[1])
    assert "seqconv.architecture" in ran.stderr
    assert " torch" not in ran.stderr
