"""The utilisation of groups against sums over single weights, its drawing by its pixels, and the command."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from safetensors.torch import save_file
from torch import Tensor, nn

import seqconv
from seqconv import utilisation as module
from seqconv.aggregation import Regular, Window
from seqconv.layers.seqconv import SeqConv2d
from seqconv.serialization import to_yaml
from seqconv.utilisation import heat_map, main, utilisation, utilisations, write_csv
from tests.seqconv.networks import small
from tests.seqconv.strategies import patterns


def mean_over_largest(cells: dict[tuple[int, int], list[float]], in_groups: int, out_groups: int) -> Tensor:
    """From the weights with which each step (from 1) reads each group (from 1-G)."""
    expected = torch.full((out_groups, in_groups + out_groups), math.nan, dtype=torch.float64)
    means = {cell: sum(map(abs, weights)) / len(weights) for cell, weights in cells.items()}
    for (step, group), mean in means.items():
        expected[step - 1, group + in_groups - 1] = mean / max(means.values())
    return expected


def weights_one_by_one(layer: SeqConv2d) -> dict[tuple[int, int], list[float]]:
    """Kernels lie side by side, step by step, sources oldest first; an oldest group may be narrower."""
    weight = layer.weight if layer.form == "plain" else layer.reduce_weight
    oldest = layer.in_channels - (layer.in_groups - 1) * layer.group_width
    cells, column = {}, 0
    for step, row in enumerate(layer.adjacency.sources, start=1):
        for group in row:
            width = oldest if group == 1 - layer.in_groups else layer.group_width
            cells[step, group] = weight[:, column : column + width].flatten().tolist()
            column += width
    return cells


@given(st.data(), st.integers(1, 5), st.integers(1, 5), st.sampled_from(["plain", "bottleneck"]))
def test_each_cell_is_the_mean_of_its_weights(data: st.DataObject, in_groups: int, out_groups: int, form: str) -> None:
    pattern = data.draw(patterns(in_groups, out_groups))
    layer = SeqConv2d(2 * in_groups, 2 * out_groups, (1, 3), group_width=2, pattern=pattern, form=form)
    expected = mean_over_largest(weights_one_by_one(layer), in_groups, out_groups)
    found = utilisation(layer)
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert found.isnan().logical_not().tolist() == [list(row) for row in layer.adjacency.matrix()]
    assert found.nan_to_num().max() == 1


@pytest.mark.parametrize("form", ["plain", "bottleneck"])
def test_an_oldest_group_that_is_narrower(form: str) -> None:
    layer = SeqConv2d(11, 12, group_width=4, pattern="dense", form=form)
    assert (layer.in_groups, layer.out_groups) == (3, 3)
    expected = mean_over_largest(weights_one_by_one(layer), 3, 3)
    torch.testing.assert_close(utilisation(layer), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("c_in", "c_out", "groups", "k"), [(8, 8, 1, 4), (11, 8, 1, 4), (12, 6, 3, 2), (12, 12, 12, 3), (8, 12, 2, 3)]
)
def test_a_convolution_in_groups(c_in: int, c_out: int, groups: int, k: int) -> None:
    conv = nn.Conv2d(c_in, c_out, 3, groups=groups)
    in_groups = math.ceil(c_in / k)
    cells: dict[tuple[int, int], list[float]] = {}
    for out in range(c_out):
        for i in range(c_in // groups):
            channel = out // (c_out // groups) * (c_in // groups) + i
            group = -((c_in - 1 - channel) // k)
            cells.setdefault((out // k + 1, group), []).extend(conv.weight[out, i].flatten().tolist())
    expected = mean_over_largest(cells, in_groups, c_out // k)
    torch.testing.assert_close(utilisation(conv, group_width=k), expected, equal_nan=True)


def test_a_convolution_is_a_layer_that_reads_inputs_alone() -> None:
    layer = SeqConv2d(8, 12, group_width=4, pattern=Regular())
    conv = nn.Conv2d(8, 12, 3)
    with torch.no_grad():
        conv.weight.copy_(torch.cat([layer.weight[:, kernel] for kernel in layer.layout.steps]))
    torch.testing.assert_close(utilisation(layer), utilisation(conv, group_width=4), equal_nan=True)


def test_a_stride_is_of_the_layer_before_the_shrinking() -> None:
    layer = SeqConv2d(8, 16, stride=2, group_width=4, norm=True)
    assert layer.shrinking is not None
    assert utilisation(layer).shape == (2, 2 + 2)


def test_scale_and_precision_change_nothing_and_zero_is_not_unread() -> None:
    layer = SeqConv2d(8, 8, group_width=4, pattern=Window(groups=1))
    before = utilisation(layer)
    with torch.no_grad():
        layer.weight.mul_(-4)
    assert torch.equal(utilisation(layer).nan_to_num(-1), before.nan_to_num(-1))
    torch.testing.assert_close(utilisation(layer.half()), before, equal_nan=True, atol=1e-3, rtol=0)
    with torch.no_grad():
        layer.weight.zero_()
    assert utilisation(layer).nan_to_num(-1).tolist() == [[-1, 0, -1, -1], [-1, -1, 0, -1]]


@pytest.mark.parametrize(
    ("layer", "group_width", "message"),
    [
        (nn.Linear(2, 2), 2, "layer must be a SeqConv2d or an nn.Conv2d, got Linear"),
        (nn.Conv2d(4, 4, 1), None, "group_width must be an integer at least 1, got None"),
        (nn.Conv2d(4, 6, 1), 4, "out_channels must be a multiple of group_width 4, got 6"),
        (SeqConv2d(4, 4, group_width=2), 4, "group_width of this SeqConv2d is 2, got 4"),
    ],
)
def test_layers_that_are_refused(layer: nn.Module, group_width: int | None, message: str) -> None:
    with pytest.raises(ValueError) as error:
        utilisation(layer, group_width=group_width)
    assert str(error.value) == message


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite(value: float) -> None:
    model = nn.Sequential(nn.ReLU(), SeqConv2d(4, 4, group_width=2))
    with torch.no_grad():
        model[1].weight[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"^1: weights must be finite, got NaN or infinite ones: training diverged$"):
        utilisations(model)


def test_the_layers_of_a_network_by_name() -> None:
    model = seqconv.build(small.architecture(), classes=2)
    found = utilisations(model)
    assert list(found) == [name for name, layer in model.named_modules() if isinstance(layer, SeqConv2d)]
    assert found["head.layer"].shape == (2, 2 + 2)
    for name, array in found.items():
        torch.testing.assert_close(array, utilisation(model.get_submodule(name)), equal_nan=True)


def test_a_model_without_such_layers() -> None:
    with pytest.raises(ValueError, match=r"^Sequential has no SeqConv2d layer$"):
        utilisations(nn.Sequential(nn.Conv2d(3, 3, 1)))


def pixels(array: Tensor) -> dict[tuple[int, int], np.ndarray]:
    """Red, green and blue of the pixels of each cell (step, source) in a drawing of one layer."""
    figure = heat_map({"layer": array})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].astype(float) / 255
    place = figure.axes[0].transData.transform
    cells = {}
    in_groups = array.shape[1] - array.shape[0]
    for step in range(1, array.shape[0] + 1):
        for source in range(1 - in_groups, array.shape[0] + 1):
            (left, top), (right, bottom) = place((source - 0.3, step - 0.3)), place((source + 0.3, step + 0.3))
            rows = slice(len(image) - int(top), len(image) - int(bottom))
            cells[step, source] = image[rows, int(left) : int(right)].reshape(-1, 3)
    return cells


def test_a_drawing_shows_values_where_the_paper_counts_them_and_hatches_the_rest() -> None:
    array = torch.tensor([[0.0, 1.0, math.nan, math.nan], [math.nan, 0.5, 0.0, math.nan]], dtype=torch.float64)
    for (step, source), colours in pixels(array).items():
        value = array[step - 1, source + 1].item()
        if math.isnan(value):
            assert colours.max() == 1 and colours.std() > 0  # white, with lines
        else:
            np.testing.assert_allclose(colours, [colormaps["viridis"](value)[:3]] * len(colours), atol=0.01)


def test_a_panel_for_each_layer() -> None:
    layers = utilisations(seqconv.build(small.architecture(), classes=2))
    figure = heat_map(layers)
    *panels, colour_bar = figure.axes
    assert [axes.get_title().partition("  ")[0] for axes in panels] == list(layers)
    assert panels[0].get_title() == "head.layer  (G = 2, g = 2)"
    assert colour_bar.get_ylabel() == "mean |weight| / largest of the layer"
    for axes, (out_groups, columns) in zip(panels, (array.shape for array in layers.values()), strict=True):
        assert axes.get_xlim() == (0.5 + out_groups - columns, out_groups + 0.5)
        assert axes.get_ylim() == (out_groups + 0.5, 0.5)


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match=r"^layers must hold at least one$"):
        heat_map({})


def test_the_table_has_what_is_read(tmp_path: Path) -> None:
    first = [[0.25, math.nan, math.nan], [1, 0.0, math.nan]]
    layers = {"a": torch.tensor(first), "b": torch.tensor([[1.0, math.nan]])}
    write_csv(layers, tmp_path / "heat.csv")
    assert (tmp_path / "heat.csv").read_text().split() == [
        "layer,step,source,utilisation", "a,1,0,0.25", "a,2,0,1.0", "a,2,1,0.0", "b,1,0,1.0",
    ]  # fmt: skip


ARCHITECTURE = small.architecture(Window(groups=1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported model, and a checkpoint as training writes it."""
    model = seqconv.build(ARCHITECTURE, classes=7)
    seqconv.write_architecture(ARCHITECTURE, tmp_path / "architecture.yaml")
    description = {"schema": "seqconv.model", "version": 1, "classes": 7, "weights": "model.pt"}
    (tmp_path / "model.yaml").write_text(to_yaml(description))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.save({"identity": {}, "state": {"model": model.state_dict(), "optimizer": {}}}, tmp_path / "checkpoint.pt")
    return tmp_path


def table(path: Path) -> dict[tuple[str, str, str], float]:
    with path.open(newline="") as file:
        return {(r["layer"], r["step"], r["source"]): float(r["utilisation"]) for r in csv.DictReader(file)}


def test_the_command_on_an_exported_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heat = folder / "heat.png"
    assert main([str(folder), "--out", str(heat), "--csv", str(folder / "heat.csv")]) == 0
    layers = utilisations(seqconv.load(folder))
    assert capsys.readouterr().out == f"{', '.join(layers)}: written to {heat} and {folder / 'heat.csv'}\n"
    assert heat.read_bytes().startswith(b"\x89PNG")
    found = table(folder / "heat.csv")
    assert len(found) == sum(array.isnan().logical_not().sum() for array in layers.values())
    assert found["stage3_block1.layer_b", "2", "1"] == layers["stage3_block1.layer_b"][1, 4].item()


@pytest.mark.parametrize("file", ["model.pt", "model.safetensors", "checkpoint.pt"])
def test_the_command_on_an_architecture_and_weights(file: str, folder: Path) -> None:
    architecture, weights, out = folder / "architecture.yaml", folder / file, folder / "heat.csv"
    assert main([str(architecture), "--weights", str(weights), "--csv", str(out), "--layer", "head.layer"]) == 0
    expected = utilisations(seqconv.load(folder))["head.layer"]
    assert table(out) == {
        ("head.layer", str(step), str(source)): expected[step - 1, source + 1].item()
        for step, source in [(1, -1), (1, 0), (2, -1), (2, 0), (2, 1)]
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FOLDER"], "nothing to write: give --out heat.png, --csv heat.csv or both"),
        (["FOLDER/none", "--out", "x.png"],
         "FOLDER/none: no such model folder; an architecture needs --weights FILE"),
        (["FOLDER/empty", "--out", "x.png"], "FOLDER/empty/model.yaml: no such file; an exported model folder "),
        (["FOLDER/bare", "--out", "x.png"],
         "FOLDER/bare: it was exported without weights, so there is nothing to look at"),
        (["cifar_c", "--weights", "FOLDER/model.pt", "--out", "x.png"], "cifar_c: no such preset or file (did you "),
        (["cifar_b", "--weights", "FOLDER/none.pt", "--out", "x.png"], "FOLDER/none.pt: no such file"),
        (["cifar_b", "--weights", "FOLDER/model.pt", "--out", "x.png"],
         "FOLDER/model.pt: not the weights of cifar_b: Error(s) in loading state_dict for Network: Missing key(s)"),
        (["cifar_b", "--weights", "FOLDER/model.yaml", "--out", "x.png"],
         "FOLDER/model.yaml: not the weights of cifar_b: no tensors that torch saved: "),
        (["cifar_b", "--weights", "FOLDER/other.pt", "--out", "x.png"],
         "FOLDER/other.pt: not the weights of cifar_b: it has no entry classifier.weight"),
        (["cifar_b", "--weights", "FOLDER/ended.pt", "--out", "x.png"],
         "FOLDER/ended.pt: not the weights of cifar_b: the checkpoint of a trial that has ended holds none; "
         "they are in its model.pt"),
        (["FOLDER", "--out", "x.png", "--layer", "head"],
         "layer must be one of head.layer, stage1_block1.layer_a, "),
        (["FOLDER", "--out", "FOLDER/heat.txt"], "Format 'txt' is not supported (supported formats: "),
        (["FOLDER", "--csv", "FOLDER/no/heat.csv"], "[Errno 2] No such file or directory: 'FOLDER/no/heat.csv'"),
    ],
)  # fmt: skip
def test_what_the_command_refuses(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    (folder / "bare").mkdir()
    seqconv.write_architecture(ARCHITECTURE, folder / "bare" / "architecture.yaml")
    (folder / "bare" / "model.yaml").write_text("{schema: seqconv.model, version: 1, classes: 7, weights: null}")
    torch.save({"a": torch.zeros(2)}, folder / "other.pt")
    torch.save({"identity": {}, "state": None}, folder / "ended.pt")
    assert main([argument.replace("FOLDER", str(folder)) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: " + message.replace("FOLDER", str(folder)))
    assert printed.err.count("\n") == 1


def test_without_matplotlib(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([str(folder), "--out", str(folder / "heat.png")]) == 2
    assert capsys.readouterr().err == "error: drawing needs matplotlib: pip install matplotlib\n"
    assert main([str(folder), "--csv", str(folder / "heat.csv")]) == 0


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["cifar_b", "--out", "heat.png"], 2)])
def test_help_and_errors_do_without_torch(arguments: list[str], code: int) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "seqconv.utilisation", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(module.__file__).parents[1])
    assert run.returncode == code
    assert "seqconv.architecture" in run.stderr
    assert " torch" not in run.stderr and " matplotlib" not in run.stderr


def test_a_preset_with_other_classes_reads_them_off_the_weights(tmp_path: Path) -> None:
    weights, out = tmp_path / "model.pt", tmp_path / "heat.csv"
    torch.save(seqconv.build(seqconv.read_architecture("cifar_b_small"), classes=3).state_dict(), weights)
    assert main(["cifar_b_small", "--weights", str(weights), "--csv", str(out)]) == 0
