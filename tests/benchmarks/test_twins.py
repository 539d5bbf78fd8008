"""A twin costs exactly what its layer costs, and computes what a parallel convolution computes."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import BOTTLENECK, PLAIN, QUICK_BOTTLENECK, QUICK_PLAIN, Layer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from twins import Twin, with_twins

from seqconv.aggregation import DENSE, Window
from seqconv.architecture import Architecture, Stage
from seqconv.layers.seqconv import SeqConv2d
from seqconv.networks.build import build


def make_layer(in_channels: int = 16, out_channels: int = 16, **changes: Any) -> SeqConv2d:
    fields: dict[str, Any] = {"group_width": 4, "norm": True, "activation": True, "plan": "reference"}
    return SeqConv2d(in_channels, out_channels, **{**fields, **changes})


def params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def macs(module: nn.Module, *shape: int) -> int:
    """On the meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("case", [*PLAIN, *BOTTLENECK, *QUICK_PLAIN, *QUICK_BOTTLENECK], ids=str)
def test_params_and_macs_of_every_layer_in_the_benchmark(case: Layer) -> None:
    with torch.device("meta"):
        layer = make_layer(case.C, case.C, group_width=case.k, form=case.form)
        twin = Twin(layer)
    shape = (case.batch, case.C, case.size, case.size)
    assert params(twin) == params(layer)
    assert macs(twin, *shape) == macs(layer, *shape)
    assert twin.reads == case.C


@given(
    k=st.sampled_from([2, 4, 6]),
    in_groups=st.integers(1, 6),
    out_groups=st.integers(1, 6),
    width=st.integers(1, 12),
    form=st.sampled_from(["plain", "bottleneck"]),
    subgroups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
@settings(max_examples=30)
def test_params_macs_and_shape_of_any_window(
    k: int, in_groups: int, out_groups: int, width: int, form: str, subgroups: int, bias: bool
) -> None:
    fields = {"group_width": k, "pattern": Window(groups=width), "form": form, "bias": bias}
    groups = subgroups if form == "bottleneck" else 1
    with torch.device("meta"):
        layer = make_layer(k * in_groups, k * out_groups, groups=groups, **fields)
        if layer.adjacency.pairs * k % out_groups:
            with pytest.raises(ValueError, match="a whole number of channels on average"):
                Twin(layer)
            return
        twin = Twin(layer)
    assert params(twin) == params(layer)
    assert macs(twin, 2, k * in_groups, 5, 4) == macs(layer, 2, k * in_groups, 5, 4)
    x = torch.empty(2, k * in_groups, 5, 4, device="meta")
    assert twin(x).shape == layer(x).shape


def normalised(x_NCHW: Tensor) -> Tensor:
    """By a fresh batch norm in training mode."""
    mean, var = x_NCHW.mean((0, 2, 3), keepdim=True), x_NCHW.var((0, 2, 3), correction=0, keepdim=True)
    return (x_NCHW - mean) / (var + 1e-5).sqrt()


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("with_shortcut", [False, True])
def test_a_bottleneck_twin_is_its_formula(with_shortcut: bool) -> None:
    twin = Twin(make_layer(form="bottleneck", groups=2)).double()
    x, shortcut = random(3, 16, 5, 4), random(3, 16, 5, 4) if with_shortcut else None
    assert twin.reduce is not None and isinstance(twin.reduce[0], nn.Conv2d)
    reduced = torch.relu(normalised(torch.einsum("nchw,oc->nohw", x, twin.reduce[0].weight[:, :, 0, 0])))
    pieces = zip(reduced.chunk(8, 1), twin.conv.weight.chunk(8, 0), strict=True)
    raw = torch.cat([F.conv2d(piece, weight, padding=1) for piece, weight in pieces], 1)
    raw = raw if shortcut is None else raw + shortcut
    found = twin.streams(x, shortcut)
    torch.testing.assert_close(found.raw, raw, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.act, torch.relu(normalised(raw)), rtol=0, atol=1e-10)
    torch.testing.assert_close(twin(x, shortcut), found.act)


def test_a_plain_twin_is_conv_norm_relu() -> None:
    twin = Twin(make_layer(bias=True)).double()
    x = random(3, 16, 5, 4)
    raw = F.conv2d(x, twin.conv.weight, twin.conv.bias, padding=1)
    torch.testing.assert_close(twin(x), torch.relu(normalised(raw)), rtol=0, atol=1e-10)


def test_the_dense_heads_twin_reads_its_input_repeatedly() -> None:
    """Two input groups and up to seven outputs: 44 channels a step on average."""
    twin = Twin(make_layer(16, 64, group_width=8, pattern=DENSE, form="bottleneck")).double()
    x = random(2, 16, 3, 3)
    assert twin.reads == 44 and twin.reduce is not None
    torch.testing.assert_close(twin(x), twin.streams(x).act)
    seen: list[Tensor] = []
    twin.reduce.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    twin(x)
    assert torch.equal(seen[0], torch.cat([x, x, x[:, :12]], dim=1))


def test_a_narrow_windows_twin_reads_the_newest_channels() -> None:
    twin = Twin(make_layer(pattern=Window(groups=2))).double()
    x, other = random(2, 16, 3, 3), random(2, 16, 3, 3)
    other[:, 8:] = x[:, 8:]
    assert torch.equal(twin(x), twin(other))


@pytest.mark.parametrize("form", ["plain", "bottleneck"])
def test_a_network_of_twins(form: str) -> None:
    architecture = Architecture(stages=(Stage(blocks=1, group_width=8, form=form),) * 3, widening=4)
    with torch.device("meta"):
        network, twins = build(architecture, classes=10), with_twins(build(architecture, classes=10))
    for layer in network.modules():
        if isinstance(layer, SeqConv2d):
            layer.plan = "reference"
    assert sum(isinstance(module, SeqConv2d) for module in network.modules()) == 9
    assert not any(isinstance(module, SeqConv2d) for module in twins.modules())
    assert sum(isinstance(module, Twin) for module in twins.modules()) == 9
    assert params(twins) == params(network)
    assert macs(twins, 2, 3, 32, 32) == macs(network, 2, 3, 32, 32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": False}, "a twin needs a layer with norm and activation and without dropout, got SeqConv2d"),
        ({"activation": False}, "a twin needs a layer with norm and activation and without dropout, got SeqConv2d"),
        ({"dropout": 0.1}, "a twin needs a layer with norm and activation and without dropout, got SeqConv2d"),
        ({"stride": 2}, "a twin needs a layer without stride, got SeqConv2d"),
        ({"stride": 2, "pattern": "regular"}, "a twin needs a layer without stride, got SeqConv2d"),
        (
            {"out_channels": 12, "pattern": [[0], [0, 1], [0, 1]]},
            "a twin needs steps that read a whole number of channels on average, got 20 channels in 3 steps",
        ),
    ],
)
def test_a_twin_refuses(fields: dict[str, Any], message: str) -> None:
    layer = make_layer(**fields)
    with pytest.raises(ValueError) as error:
        Twin(layer)
    assert str(error.value).startswith(message)
