"""The folder of one exported model, file by file, each checked against the model before anything is called done."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from promotion.export_onnx import ONNX_FILE, OPSET, check_onnx, trace, write_onnx
from promotion.export_program import PROGRAM_FILE, check_program, write_program
from promotion.exportable import Exportable
from promotion.model_card import CARD_FILE, model_card
from seqconv import load, serialization, write_architecture
from seqconv.complexity import Complexity, measure, measure_module
from seqconv.latency import Latency, measure_latency
from seqconv.serialization import ARCHITECTURE_FILE, MODEL_FILE, WEIGHTS_FILE
from training import device


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is written and measured beside the architecture and the weights; as in `ExportRequest`."""

    onnx: bool
    program: bool
    latency: bool
    compiled: bool


def write_folder(folder: Path, exportable: Exportable, contents: Contents) -> Complexity:
    """Write all of it; returns what the model costs.

    Args:
        folder: an empty one.
        exportable: the model.
        contents: what to write of it.

    Raises:
        ValueError: weights of another model, or a file that does not compute what the model does.
        OSError: a file that cannot be written; some are there then.
    """
    described = _describe(exportable)
    if exportable.architecture is not None:
        write_architecture(exportable.architecture, folder / ARCHITECTURE_FILE)
    _write_model(folder, described)
    if exportable.weights is not None:
        _write_weights(exportable.weights, folder / WEIGHTS_FILE)
    model = _load(folder, exportable)
    cost = _cost(exportable, model)
    described["cost"] = asdict(cost)
    described |= _write_graphs(folder, model, exportable.resolution, contents)
    measured = _latency(model, exportable.resolution, contents)
    if measured:
        described["latency"] = [_rounded(asdict(latency)) for latency in measured]
    _write_model(folder, described)
    card = model_card(exportable, cost, measured, files=[path.name for path in folder.iterdir()])
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    return cost


def _describe(exportable: Exportable) -> dict[str, Any]:
    """What stands in model.yaml, without what is yet to be measured."""
    described: dict[str, Any] = {"schema": serialization.MODEL_SCHEMA, "version": serialization.MODEL_VERSION}
    if exportable.timm_name is not None:
        described["timm"] = exportable.timm_name
    described |= {
        "classes": exportable.classes,
        "weights": None if exportable.weights is None else WEIGHTS_FILE,
        "resolution": exportable.resolution,
    }
    data, result = exportable.dataset, exportable.result
    if data is not None:
        described["dataset"] = data.name
        described |= {key: list(getattr(data, key)) for key in ("class_names", "mean", "std")}
    described["origin"] = dict(exportable.origin)
    if result is not None:
        described |= {"result": result.to_dict(), "recipe": dict(result.recipe)}
    return described


def _write_model(folder: Path, described: Mapping[str, Any]) -> None:
    (folder / MODEL_FILE).write_text(serialization.to_yaml(described), encoding="utf-8")


def _write_weights(source: Path, target: Path) -> None:
    """Those of promotions are in the format of the folder, those of searches are not."""
    if source.suffix == target.suffix:
        content = source.read_bytes()
    else:
        file = io.BytesIO(source.read_bytes())
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            # Training on channels_last leaves tensors in a layout that the format does not have.
            content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()})
        except Exception as error:  # what is raised depends on what the file holds instead
            reason = textwrap.shorten(str(error), width=200)
            raise ValueError(f"{source}: holds no weights: {reason}") from None
    target.write_bytes(content)


def _load(folder: Path, exportable: Exportable) -> nn.Module:
    """The model as any user will load it; random weights, where it has none, are those of one seed."""
    with device.seeded(0, torch.device("cpu")):
        try:
            return load(folder)
        except ValueError as error:
            if error.__cause__ is None:
                raise
            reason = textwrap.shorten(str(error.__cause__), width=300)
            raise ValueError(f"{exportable.weights}: not the weights of {exportable.name}: {reason}") from None


def _cost(exportable: Exportable, model: nn.Module) -> Complexity:
    if exportable.architecture is None:
        return measure_module(model, (3, exportable.resolution, exportable.resolution))
    return measure(exportable.architecture, resolution=exportable.resolution, classes=exportable.classes)


def _write_graphs(folder: Path, model: nn.Module, resolution: int, contents: Contents) -> dict[str, Any]:
    """model.onnx and model.pt2 where they are wanted; what model.yaml says of them."""
    written: dict[str, Any] = {}
    if contents.onnx or contents.program:
        program = trace(model, resolution)
        if contents.onnx:
            write_onnx(program, folder / ONNX_FILE)
            difference = check_onnx(folder / ONNX_FILE, model, resolution)
            written["onnx"] = {"opset": OPSET, "largest_difference": float(f"{difference:.2g}")}
        if contents.program:
            write_program(program, folder / PROGRAM_FILE)
            difference = check_program(folder / PROGRAM_FILE, model, resolution)
            written["program"] = {"torch": str(torch.__version__), "largest_difference": float(f"{difference:.2g}")}
    return written


def _rounded(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in data.items()}


def _latency(model: nn.Module, resolution: int, contents: Contents) -> list[Latency]:
    if not contents.latency:
        return []
    try:
        return measure_latency(model, resolution, device=device.select("auto"), compiled=contents.compiled)
    except ValueError as error:
        raise ValueError(f"{error}; latency=false leaves it out") from None
