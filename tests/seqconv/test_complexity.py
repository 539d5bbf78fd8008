"""Costs against the golden integers, and against what a whole network does on the meta device."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import seqconv
from seqconv import complexity, tracing
from seqconv.aggregation import Window
from seqconv.architecture import Architecture, Stage
from seqconv.complexity import measure_module
from seqconv.layers.seqconv import SeqConv2d
from seqconv.networks.presets import FAMILIES, PRESETS, preset
from tests.seqconv.networks import small
from tests.seqconv.strategies import architectures

GOLDEN = Path(__file__).parents[1] / "golden"
with (GOLDEN / "complexity.csv").open(newline="") as table:
    ROWS = list(csv.DictReader(table))


def of_row(row: dict[str, str]) -> Architecture:
    blocks, widths, subgroups, pyramid = (
        [int(number) for number in row[column].split("-")]
        for column in ("blocks", "group_width", "subgroups", "pyramid")
    )
    stages = tuple(
        Stage(blocks=b, group_width=k, subgroups=s, form=row["form"])
        for b, k, s in zip(blocks, widths, subgroups, strict=True)
    )
    return Architecture(stages=stages, widening=int(row["widening"]), pyramid=tuple(pyramid), family=row["family"])


def row_name(row: dict[str, str]) -> str:
    return "{family} {form} {blocks} k{group_width} S{subgroups} W{widening} {pyramid} {classes}".format(**row)


@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_golden_parameters_and_multiply_adds(row: dict[str, str]) -> None:
    cost = seqconv.measure(of_row(row), resolution=int(row["resolution"]), classes=int(row["classes"]))
    assert (cost.params, cost.macs) == (int(row["params"]), int(row["macs"]))


@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_golden_parameters_of_the_module(row: dict[str, str]) -> None:
    model = seqconv.build(of_row(row), classes=int(row["classes"]))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == int(row["params"])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("cifar_plain", 19741658),
        ("cifar_b", 2929114),
        ("cifar_b_demo", 843834),
        ("cifar_b_small", 125402),
        ("seqresnet_b22", 11859656),
        ("seqresnet_b42", 25642696),
        ("seqresnext_24", 26211784),
        ("seqresnet_b_small", 7803080),
        ("seqresnext_small", 6526664),
    ],
)
def test_presets_are_in_the_golden_file(name: str, params: int) -> None:
    row = next(row for row in ROWS if int(row["params"]) == params)
    family = FAMILIES[preset(name).family]
    assert of_row(row) == preset(name)
    assert (int(row["resolution"]), int(row["classes"])) == (family.resolution, family.classes)


def test_every_preset_is_in_the_golden_file() -> None:
    assert set(PRESETS.values()) <= {of_row(row) for row in ROWS}


class Chains(TorchDispatchMode):
    """Gives every tensor the number of convolutions and matrix products on the longest chain that leads to it."""

    PRODUCTS = (torch.ops.aten.convolution.default, torch.ops.aten.addmm.default)

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[int, int] = {}
        self.alive: list[Tensor] = []
        self.normed = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        depth = max((self.of.get(id(t), 0) for t in torch.utils._pytree.tree_leaves(args)), default=0)
        for tensor in torch.utils._pytree.tree_leaves(output):
            self.of[id(tensor)] = depth + (func in self.PRODUCTS)
            self.alive.append(tensor)
        if func is torch.ops.aten.native_batch_norm.default:
            self.normed += args[0].numel()
        return output


def with_plan(model: nn.Module, plan: str) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, SeqConv2d):
            layer.plan = plan
    return model


def whole_network(architecture: Architecture, resolution: int, classes: int) -> dict[str, int]:
    """The same figures from passes through the built network, without `measure`."""
    with torch.device("meta"):
        model = with_plan(seqconv.build(architecture, classes=classes).eval(), "reference")
        image = torch.empty(1, 3, resolution, resolution)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    with torch.no_grad(), Chains() as chains:
        logits = model(image)
    macs = counter.get_total_flops() // 2
    return {
        "params": sum(p.numel() for p in model.parameters()),
        "macs": macs,
        "paper_flops": macs + (2 + 3) * chains.normed,  # after each batch norm comes a ReLU
        "serial_depth": chains.of[id(logits)],
        "activation_bytes": kept_by_an_image(
            with_plan(seqconv.build(architecture, classes=classes), "blocked"), 3, resolution, resolution
        ),
    }


def kept_by_an_image(model: nn.Module, *shape: int) -> int:
    """By how much the bytes that autograd keeps grow from a batch of three to one of four, on the CPU."""
    return kept_by_a_batch(model, 4, *shape) - kept_by_a_batch(model, 3, *shape)


def kept_by_a_batch(model: nn.Module, *shape: int) -> int:
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(torch.randn(shape))
    return sum(tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in own)


@given(architectures(any_pattern=True))
@settings(max_examples=6)
def test_measure_is_the_whole_network(architecture: Architecture) -> None:
    for resolution, classes in ((16, 10), (13, 3)):
        cost = seqconv.measure(architecture, resolution=resolution, classes=classes)
        expected = whole_network(architecture, resolution, classes)
        assert {name: getattr(cost, name) for name in expected} == expected


@pytest.mark.parametrize("form", small.FORMS)
@pytest.mark.parametrize("family", small.FAMILIES)
@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"dropout": 0.1}], ids=["", "recompute", "dropout"])
def test_activation_memory_is_what_autograd_keeps(options: dict[str, Any], family: str, form: str) -> None:
    architecture = small.architecture(Window(ratio=0.5), family=family, blocks=2, **small.FORMS[form])
    cost = seqconv.measure(architecture, resolution=20, classes=7, **options)
    model = seqconv.build(architecture, classes=7, **options)
    assert cost == measure_module(model, (3, 20, 20))
    assert cost.activation_bytes == kept_by_an_image(with_plan(model, "blocked"), 3, 20, 20)


@pytest.mark.parametrize("plan", ["reference", "blocked"])
@pytest.mark.parametrize("form", small.FORMS)
def test_activation_memory_is_that_of_the_plan_and_all_else_is_not(plan: str, form: str) -> None:
    architecture = small.architecture(**small.FORMS[form])
    model = with_plan(seqconv.build(architecture, classes=7), plan)
    cost = measure_module(model, (3, 16, 16))
    assert cost.activation_bytes == kept_by_an_image(model, 3, 16, 16)
    default = seqconv.measure(architecture, resolution=16, classes=7)
    assert replace(cost, activation_bytes=0) == replace(default, activation_bytes=0)
    assert (cost.activation_bytes > default.activation_bytes) == (plan == "reference")


def test_recomputation_keeps_less_and_dropout_more() -> None:
    architecture = preset("seqresnet_b_small")
    default, recompute, dropout = (
        seqconv.measure(architecture, **options) for options in ({}, {"recompute": True}, {"dropout": 0.1})
    )
    assert recompute.activation_bytes < default.activation_bytes / 2 < dropout.activation_bytes / 4
    assert replace(recompute, activation_bytes=0) == replace(dropout, activation_bytes=0)


class Branches(nn.Module):
    """Two branches of one and of three products, of which one writes into the other's buffer, and an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.short = nn.Conv2d(8, 8, 1)
        self.long = nn.Sequential(nn.Conv2d(8, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Conv2d(4, 4, 1))
        self.fc = nn.Linear(8, 5)
        self.unused = nn.Conv2d(8, 8, 3)
        self.fc.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        both = self.short(x)
        both[:, :4] += self.long(x)
        return self.fc(both.mean((2, 3)))


def test_any_module_is_measured_by_hand() -> None:
    cost = measure_module(Branches(), (3, 5, 5))
    pixels = 25
    assert cost.macs == pixels * (3 * 8 * 9 + 8 * 8 + 8 * 4 + 4 * 2 * 9 + 4 * 4) + 8 * 5
    assert cost.paper_flops == cost.macs + pixels * 8 * (2 + 3)
    assert cost.params == sum(p.numel() for p in Branches().parameters()) - 5
    assert (cost.serial_depth, cost.unread_groups) == (1 + 3 + 1, 0)
    assert cost.activation_bytes == kept_by_an_image(Branches(), 3, 5, 5)
    # image; the stem's convolution, its batch norm rectified in place; two of the long branch; the pooled channels
    assert cost.activation_bytes == 4 * (pixels * (3 + 8 + 8 + 4 + 4) + 8)


def test_a_network_of_torchvision() -> None:
    model = torchvision.models.resnet18()
    cost = measure_module(model, (3, 64, 64))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, 64, 64))
    assert (cost.params, cost.macs) == (11689512, counter.get_total_flops() // 2)
    assert cost.serial_depth == 18
    assert cost.activation_bytes == kept_by_an_image(model, 3, 64, 64)


def test_a_module_stays_as_it_is() -> None:
    model = seqconv.build(small.architecture(), classes=3).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure_module(model, (3, 8, 8))
    assert not model.training
    assert {layer.plan for layer in model.modules() if isinstance(layer, SeqConv2d)} == {"auto"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}


def test_a_module_of_any_precision_is_measured_in_float32() -> None:
    with torch.device("meta"):
        model = seqconv.build(small.architecture(), classes=3)
    expected = measure_module(model, (3, 8, 8))
    assert measure_module(model.to(torch.bfloat16), (3, 8, 8)) == expected


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 2, 2), "Sequential with an input of shape (3, 2, 2): Calculated padded input size per channel: (2 x 2)"),
        ((4, 8, 8), "Sequential with an input of shape (4, 8, 8): Invalid channel dimensions"),
        ((3, 0, 8), "input_shape entry must be an integer at least 1, got 0"),
    ],
)
def test_measure_module_refuses(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError) as error:
        measure_module(nn.Sequential(nn.Conv2d(3, 8, 5)), shape)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_measure_module_says_what_a_layer_refuses() -> None:
    with pytest.raises(ValueError, match=r"^SeqConv2d with an input of shape \(8, 4, 4\): input must be"):
        measure_module(SeqConv2d(16, 16, group_width=8), (8, 4, 4))


def test_every_resolution_is_enough_for_a_network() -> None:
    for name in ("cifar_b_small", "seqresnet_b_small"):
        assert seqconv.measure(preset(name), resolution=1).macs > 0


def test_resolution_and_classes_are_those_of_the_family() -> None:
    for name, resolution, classes in (("cifar_b_small", 32, 10), ("seqresnext_small", 224, 1000)):
        explicit = seqconv.measure(preset(name), resolution=resolution, classes=classes)
        assert seqconv.measure(preset(name)) == explicit


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
    hits = tracing.trace_part.cache_info().hits
    assert remembered == [seqconv.measure(a, resolution=r) for a, r in variants]
    assert tracing.trace_part.cache_info().hits > hits
    for (architecture, resolution), cost in zip(variants, remembered, strict=True):
        tracing.trace_part.cache_clear()
        assert seqconv.measure(architecture, resolution=resolution) == cost
    assert len(set(remembered)) == len(variants)


@given(architectures(any_pattern=True))
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
        ({"dropout": 1.0}, "dropout must be a number at least 0 and at most 0.99, got 1.0"),
        ({"recompute": 1}, "recompute must be true or false, got 1"),
        ({"resolution": 10**9}, "resolution 1000000000: Storage size calculation overflowed"),
    ],
)
def test_measure_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        seqconv.measure(preset("cifar_b_small"), **fields)
    assert str(error.value).startswith(message)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert complexity.main(["cifar_b", "--classes", "100", "--recompute", "--dropout", "0.1"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{PRESETS['cifar_b'].describe()}   {PRESETS['cifar_b'].fingerprint()}"
    printed = {name: int(value.replace(",", "")) for name, value in map(str.split, lines)}
    expected = seqconv.measure(PRESETS["cifar_b"], resolution=32, classes=100, dropout=0.1, recompute=True)
    assert printed == asdict(expected)


def test_json_of_a_file_in_a_process_of_its_own() -> None:
    file = GOLDEN / "architecture_v1.yaml"
    run = in_a_process(str(file), "--resolution", "16", "--json")
    assert (run.returncode, run.stderr) == (0, "")
    architecture = seqconv.read_architecture(file)
    expected = whole_network(architecture, 16, 10)
    printed = json.loads(run.stdout)
    assert {name: printed[name] for name in expected} == expected
    assert printed["fingerprint"] == architecture.fingerprint()
    assert math.prod(printed[name] for name in expected) > 0


def in_a_process(*arguments: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-m", "seqconv.complexity", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=GOLDEN.parents[1])


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["seqresnet_b2"], 2), (["cifar_b", "--deep"], 2)])
def test_help_and_errors_do_without_torch(arguments: list[str], code: int) -> None:
    run = in_a_process(*arguments, options=["-X", "importtime"])
    assert run.returncode == code
    assert "seqconv.architecture" in run.stderr
    assert " torch" not in run.stderr


UNKNOWN_KEY = "{schema: seqconv.architecture, version: 1, widening: 1, stages: [{blocks: 1, group_width: 8, windw: 1}]}"
MISSING_KEY = "{schema: seqconv.architecture, version: 1, widening: 1, stages: [{blocks: 1}]}"


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("", ["cifar_c"], "cifar_c: no such preset or file (did you mean cifar_b"),
        ("", ["FOLDER"], "FOLDER: no such preset or file"),
        ("text", ["FILE"], "FILE: architecture must be a mapping, got 'text'"),
        ("{a: 1\n]", ["FILE"], "FILE: not valid YAML:"),
        (UNKNOWN_KEY, ["FILE"], "FILE: stage 1: unknown key 'windw' (did you mean window?); allowed are blocks, "),
        (MISSING_KEY, ["FILE"], "FILE: stage 1: missing key 'group_width'; required are blocks, group_width"),
        ("", ["cifar_b", "--resolution", "0"], "resolution must be an integer at least 1, got 0"),
        ("", ["cifar_b", "--classes", "-3"], "classes must be an integer at least 1, got -3"),
        ("", ["cifar_b", "--dropout", "2"], "dropout must be a number at least 0 and at most 0.99, got 2.0"),
    ],
)
def test_bad_input(
    content: str, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "architecture.yaml"
    file.write_text(content)
    places = {"FILE": str(file), "FOLDER": str(tmp_path)}
    assert complexity.main([places.get(argument, argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    first = message.partition(":")[0]
    assert printed.err.startswith("error: " + message.replace(first, places.get(first, first), 1))
    assert printed.err.count("\n") == 1


def test_a_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        complexity.main(["cifar_b", "--resolution", "large"])
    assert end.value.code == 2
    assert "invalid int value: 'large'" in capsys.readouterr().err
