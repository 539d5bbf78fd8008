from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from promotion.export_onnx import trace
from promotion.export_program import check_program, write_program
from tests.promotion.exports import CLASSES, LARGE, PIXELS, SMALL, network

RUN = """
import sys

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {"seqconv", "promotion", "searchers", "training", "safetensors", "yaml"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent)
import torch
program, images = sys.argv[1:]
torch.save(torch.export.load(program).module()(torch.load(images)), images)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    write_program(trace(network(SMALL), PIXELS), path)
    return path


def test_it_runs_where_torch_alone_is(file: Path, tmp_path: Path) -> None:
    images = torch.randn(5, 3, PIXELS, PIXELS)
    torch.save(images, tmp_path / "images.pt")
    subprocess.run([sys.executable, "-I", "-c", RUN, str(file), str(tmp_path / "images.pt")], check=True)
    found = torch.load(tmp_path / "images.pt").detach()
    with torch.no_grad():
        expected = network(SMALL)(images)
    assert found.shape == (5, CLASSES)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_it_is_checked_against_the_network(file: Path) -> None:
    assert check_program(file, network(SMALL), PIXELS) < 1e-5
    with pytest.raises(ValueError, match=r"^model\.pt2: logits of a batch of 1 differ from the model's by "):
        check_program(file, network(LARGE), PIXELS)


def test_nothing_of_this_machine_is_in_it(file: Path) -> None:
    assert str(Path(__file__).parents[2]).encode() not in file.read_bytes()
