"""A network as model.onnx, checked by onnxruntime in a process that cannot import this project."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from promotion import run_onnx
from seqconv.unrolled import unroll

ONNX_FILE = "model.onnx"
OPSET = 20
TOLERANCE = 1e-4
"""Largest difference between two computations of a logit, as a share of the largest logit where that is above 1."""
INPUT, OUTPUT, BATCH = "images", "logits", "batch"
_CHECKED_BATCHES = (1, 3)


def trace(model: nn.Module, resolution: int) -> ExportedProgram:
    """The graph of the network in plain operators, for batches of any size.

    Args:
        model: maps (N, 3, H, W) images to (N, classes) logits; stays as it is.
        resolution: H and W, which the graph fixes.

    Raises:
        ValueError: a network that `torch.export` cannot trace.
    """
    images = torch.zeros(2, 3, resolution, resolution)
    try:
        program = torch.export.export(unroll(model), (images,), dynamic_shapes=({0: torch.export.Dim(BATCH)},))
    except Exception as error:  # what a model does in forward is its own affair
        reason = f"torch.export cannot trace the model: {_first_line(error)}"
        raise ValueError(f"{reason}; onnx=false program=false leaves it out") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine
    return program


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write the graph with its weights inside; above 2 GB, which the format cannot hold, they are in a file beside it.

    Raises:
        ValueError: an operator that ONNX does not have.
        OSError: the file cannot be written.
    """
    from onnxscript import optimizer

    try:
        # The whole of its optimizer takes a time that is quadratic in the number of operators.
        made = torch.onnx.export(
            program,
            dynamo=True,
            optimize=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: BATCH},),  # names the dimension
            verbose=False,
        )
        assert made is not None
        optimizer.fold_constants(made.model)
        optimizer.remove_unused_nodes(made.model)
    except Exception as error:
        reason = f"{ONNX_FILE}: the model cannot be written in ONNX: {_first_line(error)}"
        raise ValueError(f"{reason}; onnx=false leaves it out") from error
    for node in made.model.graph:
        node.metadata_props.clear()  # as large as the graph itself, and of use for debugging the exporter alone
    made.save(path)


def random_batches(resolution: int) -> list[Tensor]:
    """Images to check with."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, resolution, resolution, generator=generator) for n in _CHECKED_BATCHES]


def check_onnx(path: Path, model: nn.Module, resolution: int) -> float:
    """The largest difference between the logits of the file and of the network, as `compare` counts.

    Raises:
        ValueError: a file that onnxruntime does not run, or a difference above the tolerance.
    """
    batches = random_batches(resolution)
    with TemporaryDirectory(dir=path.parent) as scratch:
        images, logits = (Path(scratch).resolve() / f"{name}.npz" for name in ("images", "logits"))
        np.savez(images, *(batch.numpy() for batch in batches))
        # Isolated (-I): neither the folder it runs in nor PYTHONPATH leads to the project; the script refuses it too.
        command = [sys.executable, "-I", run_onnx.__file__, str(path.resolve()), str(images), str(logits)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scratch)
        if ran.returncode:
            reason = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
            raise ValueError(f"{path.name}: onnxruntime cannot run it: {reason}")
        with np.load(logits) as found:
            return compare(path.name, model, batches, [torch.from_numpy(found[name]) for name in found.files])


def compare(what: str, model: nn.Module, batches: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """The largest difference from the logits of the network, as a share of the largest of those where that is above 1.

    Raises:
        ValueError: logits that are not finite, of another shape, or that differ by more than the tolerance.
    """
    largest = 0.0
    for images, logits in zip(batches, found, strict=True):
        with torch.inference_mode():
            expected = model(images)
        batch = f"{what}: logits of a batch of {len(images)}"
        if not expected.isfinite().all():
            raise ValueError("the model's own logits are not finite: its training diverged, or its weights are damaged")
        if logits.shape != expected.shape:
            raise ValueError(f"{batch} must have the shape {tuple(expected.shape)}, got {tuple(logits.shape)}")
        difference = float((logits - expected).abs().max() / expected.abs().max().clamp(min=1))
        if not difference <= TOLERANCE:  # nor NaN
            raise ValueError(
                f"{batch} differ from the model's by {difference:.2g} of the largest, more than {TOLERANCE:g}"
            )
        largest = max(largest, difference)
    return largest


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
