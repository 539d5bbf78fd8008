"""The ONNX file against the network, in a process that has neither; and what makes the check fail."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from promotion import export_onnx, run_onnx
from promotion.export_onnx import check_onnx, compare, trace, write_onnx
from tests.promotion.exports import CLASSES, PIXELS, SMALL, network
from tests.test_imports import PACKAGES

ROOT = Path(__file__).parents[2]
SCRIPT = Path(run_onnx.__file__)
DIFFER = "x: logits of a batch of 1 differ from the model's by "


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network(SMALL)


@pytest.fixture(scope="module")
def file(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported model, alone in its folder."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(trace(model, PIXELS), path)
    return path


def test_it_computes_what_the_network_does(file: Path, model: nn.Module) -> None:
    difference = check_onnx(file, model, PIXELS)
    assert 0 <= difference < 1e-5
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_size(file: Path, model: nn.Module, tmp_path: Path, batch: int) -> None:
    images = torch.randn(batch, 3, PIXELS, PIXELS)
    np.savez(tmp_path / "images.npz", images.numpy())
    command = [sys.executable, "-I", str(SCRIPT), str(file), str(tmp_path / "images.npz"), str(tmp_path / "out.npz")]
    subprocess.run(command, cwd=tmp_path, check=True)
    with torch.no_grad():
        expected = model(images)
    found = torch.from_numpy(np.load(tmp_path / "out.npz")["arr_0"])
    assert found.shape == (batch, CLASSES)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_process_that_checks_can_import_nothing_of_the_project() -> None:
    assert {*PACKAGES, "command_line", "torch"} == set(run_onnx.ABSENT)
    program = f"""
import runpy, sys
script = runpy.run_path({str(SCRIPT)!r})
sys.meta_path.insert(0, script["_Absent"])
sys.path.insert(0, {str(ROOT)!r})
for name in script["ABSENT"]:
    try:
        __import__(name)
    except ModuleNotFoundError:
        print(name)
import numpy, onnxruntime
"""
    ran = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == list(run_onnx.ABSENT)


def test_the_graph_is_plain_and_holds_its_weights(file: Path) -> None:
    graph = onnx.load(file)
    onnx.checker.check_model(graph)
    (images,), (logits,) = graph.graph.input, graph.graph.output
    assert [(imported.domain, imported.version) for imported in graph.opset_import] == [("", export_onnx.OPSET)]
    assert (images.name, logits.name) == ("images", "logits")
    shape = [side.dim_param or side.dim_value for side in images.type.tensor_type.shape.dim]
    assert shape == ["batch", 3, PIXELS, PIXELS]
    kinds = Counter(node.op_type for node in graph.graph.node)
    assert set(kinds) <= {
        "Add", "BatchNormalization", "Concat", "Constant", "Conv", "Gemm", "ReduceMean", "Relu", "Split"
    }  # fmt: skip
    assert kinds["Conv"] == 2 + 2 * (2 + 2 * 2)  # stem and blender; two for each step of the head and of the block
    assert not any(weight.external_data for weight in graph.graph.initializer)


def test_nothing_of_this_machine_is_in_it(file: Path) -> None:
    content = file.read_bytes()
    for path in (ROOT, Path(sys.prefix), Path.home()):
        assert str(path).encode() not in content


class Scaled(nn.Module):
    """Another network than the one that was exported."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.model(x)  # type: ignore[no-any-return]


def test_a_difference_fails_the_check(file: Path, model: nn.Module) -> None:
    assert check_onnx(file, Scaled(model, 1 + 5e-5), PIXELS) == pytest.approx(5e-5, rel=0.2)
    with pytest.raises(ValueError) as error:
        check_onnx(file, Scaled(model, 1.001), PIXELS)
    message = str(error.value)
    assert message.startswith("model.onnx: logits of a batch of 1 differ from the model's by 0.00")
    assert message.endswith(" of the largest, more than 0.0001")
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("expected", "found", "message"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0003]], DIFFER + "0.00015 of the largest, more than 0.0001"),
        ([[0.1, 0.2]], [[0.1, 0.20011]], DIFFER + "0.00011 of the largest, more than 0.0001"),
        ([[1.0, 2.0]], [[1.0, float("nan")]], DIFFER + "nan of the largest, more than 0.0001"),
        ([[1.0, float("nan")]], [[1.0, 2.0]], "the model's own logits are not finite: its training diverged, or its "),
        ([[1.0, 2.0]], [[1.0]], "x: logits of a batch of 1 must have the shape (1, 2), got (1, 1)"),
    ],
)  # fmt: skip
def test_what_is_compared(expected: list[Any], found: list[Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        compare("x", nn.Identity(), [torch.tensor(expected)], [torch.tensor(found)])
    assert str(error.value).startswith(message)


def test_the_largest_difference_over_all_batches_counts() -> None:
    batches = [torch.tensor([[1.0, 1.0]]), torch.tensor([[4.0, 1.0], [1.0, 1.0]])]
    found = [torch.tensor([[1.0, 1.00001]]), torch.tensor([[4.0, 1.0], [1.0, 1.0002]])]
    assert compare("x", nn.Identity(), batches, found) == pytest.approx(0.0002 / 4, rel=0.01)


def test_a_file_that_onnxruntime_refuses(tmp_path: Path, model: nn.Module) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"^model\.onnx: onnxruntime cannot run it: .*(Invalid|INVALID)"):
        check_onnx(tmp_path / "model.onnx", model, PIXELS)


class Undecided(nn.Module):
    """Does what depends on the images."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Operator(nn.Module):
    """Something that ONNX has no operator for."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x).real


def test_a_model_that_cannot_be_traced() -> None:
    with pytest.raises(ValueError) as error:
        trace(Undecided(), PIXELS)
    message = str(error.value)
    assert message.startswith("torch.export cannot trace the model: ")
    assert message.endswith("; onnx=false program=false leaves it out")


def test_a_model_that_onnx_cannot_express(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        write_onnx(trace(Operator(), PIXELS), tmp_path / "model.onnx")
    message = str(error.value)
    assert message.startswith("model.onnx: the model cannot be written in ONNX: ")
    assert message.endswith("; onnx=false leaves it out")
