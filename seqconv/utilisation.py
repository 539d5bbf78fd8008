"""How much each step of a layer makes of each group that it reads: the weights' figure of Huang et al. 2019.

It carries over Fig. 5 of DenseNet (Huang, Liu, van der Maaten, Weinberger, CVPR 2017), where a cell is the average
absolute weight with which one layer reads another, from layers of a block to groups of a layer.

`python -m seqconv.utilisation MODEL_FOLDER --out heat.png [--csv heat.csv]`, or ARCHITECTURE --weights FILE.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqconv import validation
from seqconv.serialization import MODEL_FILE, load, read_architecture, read_weights, read_yaml

if TYPE_CHECKING:
    from torch import Tensor, nn

    from seqconv.layers.seqconv import SeqConv2d

CLASSIFIER_WEIGHT = "classifier.weight"
"""The entry of a network's state_dict from which the number of classes is read."""


def utilisation(layer: nn.Module, *, group_width: int | None = None) -> Tensor:
    """The utilisation of every source by every step of a layer, as a float64 tensor (g, G + g) on the CPU.

    Row i - 1 is step i, column j + G - 1 is group j: the inputs 1-G .. 0, then the outputs 1 .. g. A cell is the L1
    norm of the weights with which step i convolves group j, divided by their number, and then by the largest such value
    in the layer: from 0 to 1, and NaN where the step does not read the group. In form bottleneck the weights are those
    of the 1x1 convolution; a stride's shrinking convolution is not looked at.

    Args:
        layer: a `SeqConv2d` or an `nn.Conv2d`, which reads inputs alone.
        group_width: k, into which channels of an `nn.Conv2d` are grouped; its oldest input group may be narrower.

    Raises:
        ValueError: another module, an `nn.Conv2d` whose output does not split into groups of k, or weights that are NaN
            or infinite.
    """
    from torch import nn

    from seqconv.layers.seqconv import SeqConv2d

    if isinstance(layer, SeqConv2d):
        if group_width not in (None, layer.group_width):
            raise ValueError(f"group_width of this SeqConv2d is {layer.group_width}, got {group_width!r}")
        return _of_seqconv(layer)
    if isinstance(layer, nn.Conv2d):
        return _of_conv(layer, validation.integer("group_width", group_width))
    raise ValueError(f"layer must be a SeqConv2d or an nn.Conv2d, got {type(layer).__name__}")


def utilisations(model: nn.Module) -> dict[str, Tensor]:
    """The utilisation of every SeqConv2d of a model, by its name there.

    Raises:
        ValueError: a model without one, or weights that are NaN or infinite, naming the layer.
    """
    from seqconv.layers.seqconv import SeqConv2d

    found: dict[str, Tensor] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, SeqConv2d):
            try:
                found[name] = utilisation(layer)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    if not found:
        raise ValueError(f"{type(model).__name__} has no SeqConv2d layer")
    return found


def heat_map(layers: Mapping[str, Tensor]) -> Any:
    """One panel a layer, sources from left to right and steps from top to bottom, in the paper's indices.

    What a step does not read is hatched. Returns a `matplotlib.figure.Figure`: save it with `savefig`.

    Args:
        layers: titles, and what `utilisation` gives.

    Raises:
        ValueError: no layers.
        ImportError: matplotlib is not installed.
    """
    if not layers:
        raise ValueError("layers must hold at least one")
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install matplotlib") from error

    columns = min(4, math.ceil(math.sqrt(len(layers))))
    rows = math.ceil(len(layers) / columns)
    figure = Figure(figsize=(1.5 + 3.2 * columns, 1.2 + 1.9 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    colours = colormaps["viridis"].with_extremes(bad=(0, 0, 0, 0))
    for axes, (name, array) in zip(panels, layers.items(), strict=False):
        image = _draw(axes, name, array, colours)
    for axes in panels[len(layers) :]:
        axes.remove()
    figure.supxlabel("source: input groups 1-G to 0, output groups 1 to g")
    figure.supylabel("step")
    figure.colorbar(image, ax=figure.axes, label="mean |weight| / largest of the layer", pad=0.01)
    figure.legend(handles=[Patch(**_UNREAD, label="not read")], loc="outside upper right", frameon=False)
    return figure


def write_csv(layers: Mapping[str, Tensor], path: str | Path) -> None:
    """One row for each source that a step reads: layer, step, source, utilisation."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("layer", "step", "source", "utilisation"))
        for name, array in layers.items():
            oldest = 1 - _in_groups(array)
            for step, row in enumerate(array.tolist(), start=1):
                cells = enumerate(row, start=oldest)
                table.writerows((name, step, source, value) for source, value in cells if not math.isnan(value))


_UNREAD: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.75", "hatch": "////"}


def _in_groups(array: Tensor) -> int:
    return array.shape[1] - array.shape[0]


def _draw(axes: Any, name: str, array: Tensor, colours: Any) -> Any:
    from matplotlib.ticker import MaxNLocator

    in_groups, out_groups = _in_groups(array), array.shape[0]
    extent = (0.5 - in_groups, out_groups + 0.5, out_groups + 0.5, 0.5)
    image = axes.imshow(array.numpy(), cmap=colours, vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="none")
    axes.patch.set(**_UNREAD)
    axes.axvline(0.5, color="black", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_title(f"{name}  (G = {in_groups}, g = {out_groups})", fontsize="small")
    return image


def _of_seqconv(layer: SeqConv2d) -> Tensor:
    import torch

    weight = layer.weight if layer.reduce_weight is None else layer.reduce_weight
    layout, columns = layer.layout, layer.in_groups + layer.out_groups
    read = [(step, layout.column(j)) for step, row in enumerate(layer.adjacency.sources) for j in row]
    cells = torch.tensor([step * columns + column for step, column in read])
    packed = cells.repeat_interleave(torch.tensor([layout.width(column) for _, column in read]))
    return _normalised(weight.flatten(2).permute(1, 0, 2), packed, (layer.out_groups, columns))


def _of_conv(layer: nn.Conv2d, group_width: int) -> Tensor:
    import torch

    if layer.out_channels % group_width:
        raise ValueError(f"out_channels must be a multiple of group_width {group_width}, got {layer.out_channels}")
    in_groups, out_groups = -(-layer.in_channels // group_width), layer.out_channels // group_width
    columns, read = in_groups + out_groups, layer.in_channels // layer.groups
    outputs = torch.arange(layer.out_channels)[:, None]
    inputs = outputs // (layer.out_channels // layer.groups) * read + torch.arange(read)
    # Groups are counted from the newest input channel, so that a narrower one is the oldest.
    column = in_groups - 1 - (layer.in_channels - 1 - inputs) // group_width
    cells = outputs // group_width * columns + column
    return _normalised(layer.weight.flatten(0, 1), cells.flatten(), (out_groups, columns))


def _normalised(weights: Tensor, cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mean absolute weight of each cell of `shape`, divided by the largest; weights[i] belongs to cells[i]."""
    import torch

    norms = weights.detach().to("cpu", torch.float64).abs().flatten(1)
    if not norms.isfinite().all():
        raise ValueError("weights must be finite, got NaN or infinite ones: training diverged")
    empty = torch.zeros(math.prod(shape), dtype=torch.float64)
    total, number = empty.index_add(0, cells, norms.sum(1)), empty.index_add(0, cells, torch.ones(len(cells)).double())
    mean = total / (number * norms.shape[1])
    largest = mean.nan_to_num().max()
    return (mean / largest if largest > 0 else mean).reshape(shape)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 2 where the input cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        if options.out is None and options.csv is None:
            raise ValueError("nothing to write: give --out heat.png, --csv heat.csv or both")
        layers = utilisations(_model(options.model, options.weights))
        if options.layer is not None:
            name = validation.one_of("layer", options.layer, layers)
            layers = {name: layers[name]}
        if options.csv is not None:
            write_csv(layers, options.csv)
        if options.out is not None:
            heat_map(layers).savefig(options.out, dpi=150)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    written = " and ".join(str(path) for path in (options.out, options.csv) if path is not None)
    print(f"{', '.join(layers)}: written to {written}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m seqconv.utilisation", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="an exported model folder; or, with --weights, an architecture.yaml or a preset")
    parser.add_argument("--weights", type=Path, help="a state_dict, or the checkpoint of a trial")
    parser.add_argument("--out", type=Path, help="heat map to write: .png, .pdf or .svg; needs matplotlib")
    parser.add_argument("--csv", type=Path, help="table to write")
    parser.add_argument("--layer", help="only this layer, such as stage1_block1.layer_a (default: all)")
    return parser


def _model(model: str, weights: Path | None) -> nn.Module:
    if weights is not None:
        return _with_weights(model, weights)
    if not Path(model).is_dir():
        raise ValueError(f"{model}: no such model folder; an architecture needs --weights FILE")
    loaded = load(model)
    if read_yaml(Path(model) / MODEL_FILE)["weights"] is None:
        raise ValueError(f"{model}: it was exported without weights, so there is nothing to look at")
    return loaded


def _with_weights(preset_or_file: str, weights: Path) -> nn.Module:
    architecture = read_architecture(preset_or_file)
    if not weights.is_file():
        raise ValueError(f"{weights}: no such file")
    import torch

    from seqconv.networks.build import build

    try:
        state = _state_dict(read_weights(weights))
        with torch.device("meta"):
            model = build(architecture, classes=len(state[CLASSIFIER_WEIGHT]))
        model.load_state_dict(state, assign=True)
    except Exception as error:  # what torch raises depends on what the file holds instead
        reason = textwrap.shorten(str(error), width=300)
        raise ValueError(f"{weights}: not the weights of {preset_or_file}: {reason}") from error
    return model


def _state_dict(content: Any) -> Mapping[str, Tensor]:
    """What a file of weights holds, or the network's part of what training needs to go on."""
    if isinstance(content, Mapping) and "state" in content:
        if content["state"] is None:
            raise ValueError("the checkpoint of a trial that has ended holds none; they are in its model.pt")
        content = content["state"]["model"]
    if not isinstance(content, Mapping) or CLASSIFIER_WEIGHT not in content:
        raise ValueError(f"it has no entry {CLASSIFIER_WEIGHT}")
    return content


if __name__ == "__main__":
    sys.exit(main())
