"""Costs against the golden integers, and against what a whole network does on the meta device."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import seqconv
from seqconv import complexity
from seqconv.aggregation import Window
from seqconv.architecture import Architecture, Stage
from seqconv.networks.presets import PRESETS, preset
from tests.seqconv.strategies import architectures

GOLDEN = Path(__file__).parents[1] / "golden"
with (GOLDEN / "complexity.csv").open(newline="") as table:
    ROWS = list(csv.DictReader(table))


def of_row(row: dict[str, str]) -> Architecture:
    pyramid = tuple(int(p) for p in row["pyramid"].split("-"))
    stage = Stage(blocks=int(row["blocks"]), group_width=int(row["group_width"]), form=row["form"])
    return Architecture(stages=(stage,) * len(pyramid), widening=int(row["widening"]), pyramid=pyramid)


def row_name(row: dict[str, str]) -> str:
    return "{form} {blocks}x k{group_width} W{widening} {pyramid} {classes}".format(**row)


@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_golden_parameters_and_multiply_adds(row: dict[str, str]) -> None:
    cost = seqconv.measure(of_row(row), resolution=32, classes=int(row["classes"]))
    assert (cost.params, cost.macs) == (int(row["params"]), int(row["macs"]))


@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_golden_parameters_of_the_module(row: dict[str, str]) -> None:
    model = seqconv.build(of_row(row), classes=int(row["classes"]))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == int(row["params"])


@pytest.mark.parametrize(
    ("name", "params"),
    [("cifar_plain", 19741658), ("cifar_b", 2929114), ("cifar_b_demo", 843834), ("cifar_b_small", 125402)],
)
def test_presets_are_in_the_golden_file(name: str, params: int) -> None:
    assert preset(name) in [of_row(row) for row in ROWS]
    assert seqconv.measure(preset(name)).params == params


class Depth(TorchDispatchMode):
    """Gives every tensor the number of convolutions and matrix products on the longest chain that leads to it."""

    PRODUCTS = (torch.ops.aten.convolution.default, torch.ops.aten.addmm.default)

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[int, int] = {}
        self.alive: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        depth = max((self.of.get(id(t), 0) for t in torch.utils._pytree.tree_leaves(args)), default=0)
        for tensor in torch.utils._pytree.tree_leaves(output):
            self.of[id(tensor)] = depth + (func in self.PRODUCTS)
            self.alive.append(tensor)
        return output


def whole_network(architecture: Architecture, resolution: int, classes: int) -> dict[str, int]:
    """The same figures from one pass through the built network, without `measure`."""
    with torch.device("meta"):
        model = seqconv.build(architecture, classes=classes).eval()
        image = torch.empty(1, 3, resolution, resolution)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    normed: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: normed.append(output.numel()))
    with torch.no_grad(), Depth() as depth:
        logits = model(image)
    macs = counter.get_total_flops() // 2
    return {
        "params": sum(p.numel() for p in model.parameters()),
        "macs": macs,
        "paper_flops": macs + (2 + 3) * sum(normed),  # after each batch norm comes a ReLU
        "serial_depth": depth.of[id(logits)],
    }


@given(architectures())
@settings(max_examples=6)
def test_measure_is_the_whole_network(architecture: Architecture) -> None:
    for resolution, classes in ((32, 10), (13, 3)):
        cost = seqconv.measure(architecture, resolution=resolution, classes=classes)
        expected = whole_network(architecture, resolution, classes)
        assert {name: getattr(cost, name) for name in expected} == expected


def test_what_is_remembered_is_what_is_measured_afresh() -> None:
    variants = [
        (
            Architecture(stages=(Stage(blocks=blocks, group_width=8, window=Window.parse(window)),) * 3, widening=2),
            resolution,
        )
        for blocks in (1, 2)
        for window in (1, "dense")
        for resolution in (16, 32)
    ]
    remembered = [seqconv.measure(a, resolution=r) for a, r in variants]
    hits = complexity._measure_part.cache_info().hits
    assert remembered == [seqconv.measure(a, resolution=r) for a, r in variants]
    assert complexity._measure_part.cache_info().hits > hits
    for (architecture, resolution), cost in zip(variants, remembered, strict=True):
        complexity._measure_part.cache_clear()
        assert seqconv.measure(architecture, resolution=resolution) == cost
    assert len(set(remembered)) == len(variants)


@given(architectures())
@settings(max_examples=10)
def test_the_canonical_form_costs_the_same(architecture: Architecture) -> None:
    assert seqconv.measure(architecture.canonical(), resolution=8) == seqconv.measure(architecture, resolution=8)


def test_unread_groups_are_summed_over_the_layers() -> None:
    stages = tuple(Stage(blocks=2, group_width=8, window=Window.parse(window)) for window in (1, "0.5G", "1G"))
    cost = seqconv.measure(Architecture(stages=stages, widening=2))
    stage_1 = 2 * 2 * (4 - 1) + (4 - 1)  # four layers of two blocks, and the extension towards stage 2
    stage_2 = 2 * 2 * (8 - 4) + (8 - 4)
    assert cost.unread_groups == stage_1 + stage_2


def test_serial_depth_by_hand() -> None:
    """cifar_b_small: 4, 8 and 16 groups; a bottleneck step is two convolutions."""
    stem, blender, classifier = 1, 1, 1
    head = 4 * 2
    blocks = [2 * groups * 2 for groups in (4, 8, 16)]
    downs = [growth * 2 + 1 for growth in (4, 8)]
    assert seqconv.measure(preset("cifar_b_small")).serial_depth == (
        stem + head + sum(blocks) + sum(downs) + blender + classifier
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resolution": 0}, "resolution must be an integer at least 1, got 0"),
        ({"classes": 0}, "classes must be an integer at least 1, got 0"),
    ],
)
def test_measure_refuses(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError) as error:
        seqconv.measure(preset("cifar_b_small"), **fields)
    assert str(error.value) == message


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert complexity.main(["cifar_plain", "--classes", "100"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{PRESETS['cifar_plain'].describe()}   {PRESETS['cifar_plain'].fingerprint()}"
    printed = {name: int(value.replace(",", "")) for name, value in map(str.split, lines)}
    assert (printed["params"], printed["macs"]) == (19787828, 3133900800)
    assert list(printed) == ["params", "macs", "paper_flops", "serial_depth", "unread_groups"]


def test_json_of_a_file_in_a_process_of_its_own() -> None:
    command = [
        sys.executable,
        "-m",
        "seqconv.complexity",
        str(GOLDEN / "architecture_v1.yaml"),
        "--resolution",
        "16",
        "--json",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=GOLDEN.parents[1])
    assert (run.returncode, run.stderr) == (0, "")
    architecture = seqconv.read_architecture(GOLDEN / "architecture_v1.yaml")
    expected = whole_network(architecture, 16, 10)
    printed = json.loads(run.stdout)
    assert {name: printed[name] for name in expected} == expected
    assert printed["fingerprint"] == architecture.fingerprint()
    assert math.prod(printed[name] for name in expected) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar_c"], "error: cifar_c: no such preset or file (did you mean cifar_b"),
        (["FOLDER/broken.yaml"], "error: FOLDER/broken.yaml: architecture must be a mapping, got 'text'"),
        (["FOLDER"], "error: FOLDER: no such preset or file"),
        (["cifar_b", "--resolution", "0"], "error: resolution must be an integer at least 1, got 0"),
        (["cifar_b", "--classes", "-3"], "error: classes must be an integer at least 1, got -3"),
    ],
)
def test_bad_input(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.yaml").write_text("text")
    assert complexity.main([a.replace("FOLDER", str(tmp_path)) for a in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(message.replace("FOLDER", str(tmp_path)))
    assert printed.err.count("\n") == 1


def test_a_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        complexity.main(["cifar_b", "--resolution", "large"])
    assert end.value.code == 2
    assert "invalid int value: 'large'" in capsys.readouterr().err
