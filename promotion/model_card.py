"""model_card.md: what a person wants to know of a model before using it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from promotion.export_onnx import INPUT, ONNX_FILE, OPSET, OUTPUT
from promotion.export_program import PROGRAM_FILE
from promotion.exportable import Dataset, Exportable, Result
from seqconv.complexity import Complexity
from seqconv.latency import Latency
from seqconv.serialization import MODEL_FILE, to_yaml

CARD_FILE = "model_card.md"
_CLASSES_SHOWN = 20
_RANDOM = "Those in other formats are random, and so are those that each load begins with."


def model_card(exportable: Exportable, cost: Complexity, latency: Sequence[Latency], *, files: Collection[str]) -> str:
    """The text of the card.

    Args:
        exportable: the model.
        cost: for one image.
        latency: as measured on the machine that exports.
        files: names of what else is in the folder.
    """
    sections = {
        f"# {exportable.name}": _summary(exportable),
        "## Result": _result(exportable),
        "## Cost": _cost(cost, latency),
        "## Use": _use(exportable, files),
        "## Origin": [_yaml(exportable.origin)],
        "## Licence": _licence(exportable),
    }
    return "\n\n".join(text for title, paragraphs in sections.items() for text in (title, *paragraphs)) + "\n"


def _summary(exportable: Exportable) -> Iterator[str]:
    size = f"{exportable.resolution}x{exportable.resolution}"
    yield f"Image classifier: {exportable.classes} classes, colour images of {size} pixels."
    yield f"`{exportable.describe()}`"


def _result(exportable: Exportable) -> Iterator[str]:
    data, result = exportable.dataset, exportable.result
    if data is None or result is None:
        yield f"Not trained: the folder has no weights. {_RANDOM}"
        return
    yield f"{data.name}: {result.describe()}."
    if result.part == "validation":
        yield (
            "The validation images were held out of training, and the search chose by them: "
            "on images that nothing was chosen by, expect a larger error."
        )
    if result.part == "test" and result.among > 1:
        yield (
            f"It was chosen from {result.among} candidates by their errors on these test images: "
            "on images that nothing was chosen by, expect a larger error."
        )
    if exportable.weights is None:
        yield f"The folder has no weights: {exportable.no_weights}. {_RANDOM}"
    if len(result.errors) > 1:
        yield from _seeds(result)
    yield "Recipe:"
    yield _yaml(result.recipe)


def _seeds(result: Result) -> Iterator[str]:
    errors = ((seed, f"{100 * error:.2f} %") for seed, error in result.errors.items())
    yield _table(("seed", f"{result.part} error"), errors)
    yield (
        f"The weights are those of seed {result.seed}, whose error is the lowest; "
        "what the architecture and the recipe come to is the mean."
    )


def _cost(cost: Complexity, latency: Sequence[Latency]) -> Iterator[str]:
    counts = {
        "parameters": cost.params,
        "multiply-adds": cost.macs,
        "serial depth, convolutions that must follow each other": cost.serial_depth,
        "activation memory in training, bytes": cost.activation_bytes,
    }
    yield _table(("for one image", ""), ((name, f"{count:,}") for name, count in counts.items()))
    if latency:
        first = latency[0]
        where = f"{first.device} at {first.resolution} px, threads on the CPU: {first.threads}"
        yield f"Latency on {where}; float32, by torch; the model in Python, not the other formats:"
        yield _table(("batch", "", "median ms", "interquartile range", "images/s"), map(_times, latency))


def _times(latency: Latency) -> tuple[Any, ...]:
    how = "compiled" if latency.compiled else "eager"
    spread = f"{latency.iqr_ms:.2f}" if latency.measurements > 1 else "one pass"
    return latency.batch_size, how, f"{latency.median_ms:.2f}", spread, f"{latency.images_per_second:,.0f}"


def _use(exportable: Exportable, files: Collection[str]) -> Iterator[str]:
    yield _images(f"(N, 3, {exportable.resolution}, {exportable.resolution})", exportable.dataset)
    needed = "torch, PyYAML, safetensors, the package `seqconv`" + (", timm" if exportable.timm_name else "")
    yield f"`FOLDER` is where this file is. With {needed}:"
    yield _code("import seqconv", 'model = seqconv.load("FOLDER")', "logits = model(images)")
    if ONNX_FILE in files:
        yield f"With onnxruntime alone (opset {OPSET}; any batch size, this resolution):"
        yield _code(
            "import onnxruntime",
            f'session = onnxruntime.InferenceSession("FOLDER/{ONNX_FILE}")',
            f'(logits,) = session.run(["{OUTPUT}"], {{"{INPUT}": images}})  # NumPy arrays',
        )
    if PROGRAM_FILE in files:
        yield f"With torch alone (of the version that `{MODEL_FILE}` names; any batch size, this resolution):"
        yield _code(
            "import torch",
            f'model = torch.export.load("FOLDER/{PROGRAM_FILE}").module()',
            "logits = model(images)",
        )


def _images(shape: str, data: Dataset | None) -> str:
    if data is None:
        return f"Images are {shape} float32."
    mean, std = ("(" + ", ".join(f"{value:.4f}" for value in values) + ")" for values in (data.mean, data.std))
    names = ", ".join(data.class_names[:_CLASSES_SHOWN])
    more = f", ... (`{MODEL_FILE}` has all)" if len(data.class_names) > _CLASSES_SHOWN else ""
    prepared = f" The images of the errors above were {data.preparation}." if data.preparation else ""
    return (
        f"Images are {shape} float32: red, green and blue from 0 to 1, then `(image - mean) / std` for each of them, "
        f"mean {mean}, std {std}. The logits are: {names}{more}.{prepared}"
    )


def _licence(exportable: Exportable) -> Iterator[str]:
    if exportable.timm_name is None:
        yield "The network's code, `seqconv`, is under the MIT licence."
    else:
        yield "The network's code is timm's, which says under what licence each of its models is."
    if exportable.weights is not None and exportable.dataset is not None:
        yield (
            f"The weights were learned from {exportable.dataset.name}: whether they may be used for a purpose "
            "depends on the terms of that data set too, which this folder neither restates nor extends."
        )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _yaml(data: Mapping[str, Any]) -> str:
    return f"```yaml\n{to_yaml(dict(data)).rstrip()}\n```"


def _code(*lines: str) -> str:
    return "\n".join(("```python", *lines, "```"))
