"""A network as model.pt2, a program of `torch.export` that needs torch alone."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from promotion.export_onnx import compare, random_batches

PROGRAM_FILE = "model.pt2"


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write it.

    Raises:
        OSError: the file cannot be written.
    """
    content = io.BytesIO()
    torch.export.save(program, content)
    path.write_bytes(content.getvalue())


def check_program(path: Path, model: nn.Module, resolution: int) -> float:
    """The largest difference between the logits of the file and of the network, as `compare` counts.

    Raises:
        ValueError: a difference above the tolerance.
    """
    loaded = torch.export.load(path).module()
    batches = random_batches(resolution)
    with torch.inference_mode():
        found = [loaded(images) for images in batches]
    return compare(path.name, model, batches, found)
