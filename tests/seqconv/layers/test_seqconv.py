"""The layer as a module: a drop-in for `nn.Conv2d` with closed forms, strides, and weights that every plan shares."""

import copy
import functools
import inspect
import io
import itertools
import math
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from seqconv.aggregation import Window
from seqconv.layers import seqconv
from seqconv.layers.schedule import cheapest_panel, schedule
from seqconv.layers.seqconv import SeqConv2d
from seqconv.native import library
from tests.seqconv.layers.examples import (
    FORMS,
    SIZES,
    STEPS,
    assert_same,
    inputs_of,
    make_layer,
    random_tensors,
    randomised,
    results,
    with_plan,
)

PLANS = ("reference", "blocked", "auto")
FASTEST = "blocked" if library.unavailable() else "native"
STEP = {"norm": True, "activation": True}


def test_leading_arguments_are_those_of_a_convolution() -> None:
    own, conv = inspect.signature(SeqConv2d).parameters, inspect.signature(nn.Conv2d).parameters
    leading = [name for name, parameter in own.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert leading == list(conv)
    required = [name for name, parameter in own.items() if parameter.default is parameter.empty]
    assert required == ["in_channels", "out_channels", "group_width"]


@pytest.mark.parametrize("stride", [1, 2, 3, (2, 1)])
@pytest.mark.parametrize("kernel", [1, 3, 5, (3, 1)])
@pytest.mark.parametrize("channels", [(8, 12), (12, 12), (12, 8)], ids=str)
def test_outputs_have_the_shape_of_a_convolutions(channels: tuple[int, int], kernel: Any, stride: Any) -> None:
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    for dilation, size, pattern in itertools.product((1, 2), ((6, 7), (1, 4)), ("1G", "regular")):
        arguments = (*channels, kernel, stride, tuple(dilation * (side // 2) for side in sides), dilation)
        (x,) = random_tensors((2, channels[0], *size), dtype=torch.float32)
        expected = nn.Conv2d(*arguments)(x).shape
        layer = SeqConv2d(*arguments, group_width=4, pattern=pattern)
        assert layer(x).shape == expected
        assert layer.streams(x, torch.zeros(expected)).raw.shape == expected


@pytest.mark.parametrize("padding", ["same", 2, (2, 2), [2, 2]])
def test_padding_that_is_the_same(padding: Any) -> None:
    layer = SeqConv2d(8, 8, 3, 1, padding, 2, group_width=4)
    assert layer(torch.ones(1, 8, 5, 5)).shape == (1, 8, 5, 5)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
@pytest.mark.parametrize(("in_channels", "pattern"), [(16, "dense"), (13, "dense"), (16, "1G"), (3, "1G"), (5, 1)])
def test_one_group_is_a_convolution(in_channels: int, pattern: Any, stride: Any, plan: str) -> None:
    """Eq. 1: with one step, all there is to read is the input."""
    arguments = (in_channels, 8, 3, stride, 1)
    layer = SeqConv2d(*arguments, bias=True, group_width=8, pattern=pattern, plan=plan, dtype=torch.float64)
    conv = nn.Conv2d(*arguments, dtype=torch.float64)
    layer.load_state_dict(conv.state_dict())
    assert_like(layer, conv, in_channels)


def assert_like(layer: nn.Module, other: nn.Module, in_channels: int) -> None:
    """The same outputs and gradients of the input."""
    (x,) = random_tensors((2, in_channels, 6, 7))
    found, expected = (x.clone().requires_grad_() for _ in range(2))
    outputs = layer(found), other(expected)
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("stride", [1, 2])
def test_steps_that_read_the_input_alone_are_a_convolution(stride: int, plan: str) -> None:
    layer = SeqConv2d(10, 12, 5, stride, group_width=4, pattern="regular", plan=plan, dtype=torch.float64)
    conv = nn.Conv2d(10, 12, 5, stride, 2, bias=False, dtype=torch.float64)
    conv.load_state_dict({"weight": torch.cat(layer.weight.detach().split(10, dim=1))})
    assert_like(layer, conv, 10)
    assert layer.serial_depth == 1


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("stride", [1, 2])
def test_steps_that_read_one_group_are_a_grouped_convolution(stride: int, plan: str) -> None:
    layer = SeqConv2d(12, 12, 3, stride, group_width=4, pattern="group", plan=plan, dtype=torch.float64)
    conv = nn.Conv2d(12, 12, 3, stride, 1, groups=3, bias=False, dtype=torch.float64)
    conv.load_state_dict({"weight": torch.cat(layer.weight.detach().split(4, dim=1))})
    assert_like(layer, conv, 12)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (2, 1), (4, 2)])
def test_bottlenecks_that_read_the_input_alone_are_their_parallel_twin(groups: int, stride: int, plan: str) -> None:
    fields: dict[str, Any] = {"form": "bottleneck", "pattern": "regular", "plan": plan, **STEP}
    layer = SeqConv2d(12, 8, 3, stride, groups=groups, group_width=4, dtype=torch.float64, **fields)
    randomised(layer)
    twin = nn.Sequential(
        nn.Conv2d(12, 8, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride, 1, groups=2 * groups, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
    ).double()
    assert layer.reduce_weight is not None
    twin[0].weight.data = torch.cat(layer.reduce_weight.detach().split(12, dim=1))
    twin[1].load_state_dict(layer.reduce_norm.state_dict())
    twin[3].weight.data = layer.weight.detach()
    twin[4].load_state_dict(layer.norm.state_dict())
    assert_like(layer, twin, 12)
    assert layer.serial_depth == 2


def strided(layer: SeqConv2d, x_NCHW: Tensor, shortcut_NCHW: Tensor | None, **inner: Any) -> tuple[Tensor, Tensor]:
    """The paper's downsampling around a layer that keeps height and width, with the same weights."""
    aggregation = SeqConv2d(**inner, plan="reference", dtype=torch.float64).train(layer.training)
    state = {name: t.clone() for name, t in layer.state_dict().items() if not name.startswith("shrinking.")}
    aggregation.load_state_dict(state)
    assert layer.shrinking is not None
    norm, conv = copy.deepcopy(layer.shrinking.norm), layer.shrinking.conv

    def shrunk(x: Tensor, shortcut: Tensor | None) -> tuple[Tensor, Tensor]:
        groups = x.shape[1] // inner["group_width"] * inner.get("groups", 1)
        raw = F.conv2d(x, conv.weight, conv.bias, (2, 3), 1, groups=groups)
        raw = raw if shortcut is None else raw + shortcut
        act = raw if norm is None else norm(raw)
        return raw, act.relu() if layer.activation else act

    if layer.out_channels > layer.in_channels:
        return shrunk(torch.cat([x_NCHW, aggregation(x_NCHW)], dim=1), shortcut_NCHW)
    raw, act = aggregation.streams(shrunk(x_NCHW, None)[1], shortcut_NCHW)
    return raw, act


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("in_channels", "out_channels"), [(8, 20), (12, 16), (12, 12), (16, 8)])
def test_a_stride_is_carried_by_a_grouped_convolution(
    in_channels: int, out_channels: int, form: str, plan: str
) -> None:
    """Behind the steps that emit the missing channels, or in front of all steps where none is missing."""
    emitted = out_channels - in_channels if out_channels > in_channels else out_channels
    for step, with_shortcut in itertools.product(STEPS, (False, True)):
        fields: dict[str, Any] = {"group_width": 4, "pattern": "1G", **step, **FORMS[form]}
        layer = SeqConv2d(in_channels, out_channels, stride=(2, 3), plan=plan, dtype=torch.float64, **fields)
        randomised(layer)
        x, shortcut = random_tensors((2, in_channels, 5, 7), (2, out_channels, 3, 3))
        given = shortcut if with_shortcut else None
        inner = {"in_channels": in_channels, "out_channels": emitted, **fields}
        expected = strided(layer, x, given, **inner)
        for one, other in zip(layer.streams(x, given), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("in_channels", "out_channels"), [(8, 20), (12, 12)])
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
def test_a_stride_in_every_plan(in_channels: int, out_channels: int, form: str, channels_last: bool) -> None:
    layer = SeqConv2d(in_channels, out_channels, stride=2, group_width=4, dtype=torch.float64, **STEP, **FORMS[form])
    randomised(layer)
    inputs = inputs_of(layer, (2, 5, 6), with_shortcut=True, channels_last=channels_last, stride=2)
    expected = results(with_plan(layer, "reference"), *inputs)
    assert_same(results(layer, *inputs), expected, tolerance=1e-8, case=form)


@pytest.mark.parametrize(
    ("fields", "depth", "unread"),
    [
        ({}, 4, 0),
        ({"form": "bottleneck"}, 8, 0),
        ({"pattern": 1}, 4, 3),
        ({"pattern": 3}, 4, 1),
        ({"pattern": "regular"}, 1, 0),
        ({"pattern": "dilated(2, 2)"}, 2, 0),
        ({"pattern": [[0], [-1], [2], [0]], "form": "bottleneck"}, 4, 2),
        ({"stride": 2}, 5, 0),
        ({"stride": 2, "form": "bottleneck"}, 9, 0),
        ({"stride": 2, "out_channels": 14, "pattern": 2}, 4, 2),
        ({"stride": 2, "pattern": "regular", "form": "bottleneck"}, 2, 0),
    ],
)
def test_serial_depth_and_unread_groups(fields: dict[str, Any], depth: int, unread: int) -> None:
    layer = SeqConv2d(**{"in_channels": 8, "out_channels": 8, "group_width": 2, "device": "meta", **fields})
    assert (layer.serial_depth, layer.unread_groups) == (depth, unread)
    assert layer.in_groups == 4
    assert layer.out_groups == len(layer.adjacency.sources)


def count_parameters(*channels: int, **fields: Any) -> int:
    layer = SeqConv2d(*channels, device="meta", **{**STEP, **fields})
    return sum(p.numel() for p in layer.parameters())


@given(
    k=st.sampled_from([1, 2, 4]),
    in_groups=st.integers(1, 9),
    out_groups=st.integers(1, 9),
    width=st.integers(1, 20),
    form=st.sampled_from(["plain", "bottleneck"]),
    groups=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=60)
def test_parameters_in_closed_form(k: int, in_groups: int, out_groups: int, width: int, form: str, groups: int) -> None:
    groups = 1 if form == "plain" else min(k, groups)
    fields: dict[str, Any] = {"group_width": k, "pattern": Window(groups=width), "form": form, "groups": groups}
    c_out = k * out_groups
    pairs = sum(min(width, in_groups + i - 1) for i in range(1, out_groups + 1))
    plain, bottleneck = 9 * k**2 * pairs + 2 * c_out, k**2 * pairs + 9 * k * c_out // groups + 4 * c_out
    assert count_parameters(k * in_groups, c_out, **fields) == (plain if form == "plain" else bottleneck)


@pytest.mark.parametrize(("c_in", "c_out", "k", "groups"), [(64, 64, 8, 4), (32, 64, 16, 2), (64, 32, 8, 8)])
def test_parameters_where_the_window_is_the_input_width(c_in: int, c_out: int, k: int, groups: int) -> None:
    """Every step reads G groups, so a plain layer costs what a regular convolution and its batch norm cost."""
    count = functools.partial(count_parameters, c_in, c_out, group_width=k)
    assert count() == 9 * c_in * c_out + 2 * c_out
    assert count(bias=True, norm=False) == 9 * c_in * c_out + c_out
    assert count(form="bottleneck") == c_in * c_out + 9 * k * c_out + 4 * c_out
    assert count(form="bottleneck", groups=groups) == c_in * c_out + 9 * k * c_out // groups + 4 * c_out


@pytest.mark.parametrize(("c_in", "c_out", "k"), [(64, 64, 8), (16, 128, 8), (3, 32, 16), (16, 64, 32)])
def test_parameters_of_a_dense_layer(c_in: int, c_out: int, k: int) -> None:
    g = c_out // k
    expected = 9 * c_in * c_out + 9 * k**2 * g * (g - 1) // 2 + 2 * c_out
    assert count_parameters(c_in, c_out, group_width=k, pattern="dense") == expected


@pytest.mark.parametrize(
    ("width", "params"),
    [(1, 4736), (2, 9344), (4, 18560), (6, 27776), (8, 36992), (12, 49664), (15, 53120), (99, 53120)],
)
def test_parameters_of_eight_groups_of_eight(width: int, params: int) -> None:
    assert count_parameters(64, 64, group_width=8, pattern=width) == params


def test_parameters_of_a_strided_layer() -> None:
    """Extension 64 to 64 with all 8 groups read, then a grouped 3x3 of 16 groups and its norm."""
    assert count_parameters(64, 128, stride=2, group_width=8) == 36992 + 9 * 8 * 128 + 2 * 128
    assert count_parameters(64, 64, stride=2, group_width=8) == 36992 + 9 * 8 * 64 + 2 * 64


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(
    ("fields", "shapes"),
    [
        ({}, {"weight": (4, 24, 3, 3)}),
        ({"bias": True, "pattern": 1, "kernel_size": (5, 1)}, {"weight": (4, 12, 5, 1), "bias": (12,)}),
        (
            {"form": "bottleneck", "groups": 2, "pattern": "dense"},
            {"reduce_weight": (4, 36, 1, 1), "weight": (12, 2, 3, 3)},
        ),
        (
            {"stride": 2, "bias": True},
            {
                "weight": (4, 8, 3, 3),
                "bias": (4,),
                "shrinking.conv.weight": (12, 4, 3, 3),
                "shrinking.conv.bias": (12,),
            },
        ),
    ],
)
def test_the_state_is_the_same_in_every_plan(fields: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    for plan, panel in itertools.product(PLANS, (None, 1, 5)):
        layer = SeqConv2d(8, 12, group_width=4, plan=plan, panel=panel, **{"bias": False, **fields})
        assert {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()} == shapes
        layer = SeqConv2d(8, 12, group_width=4, plan=plan, panel=panel, **STEP, **fields)
        norms = {name.rpartition(".")[0] for name in layer.state_dict() if "running_mean" in name}
        expected = {"norm"} | ({"reduce_norm"} if "form" in fields else set())
        expected |= {"shrinking.norm"} if "stride" in fields else set()
        assert norms == expected
        assert layer.state_dict().keys() == {*shapes, *(f"{norm}.{name}" for norm in norms for name in NORM)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SIZES)
def test_weights_move_between_plans(kind: str, form: str) -> None:
    one = make_layer(kind, plan="blocked", panel=2, mode="eval", **STEP, **FORMS[form])
    other = make_layer(kind, plan="reference", mode="eval", **STEP, **FORMS[form])
    randomised(one, seed=5)
    other.load_state_dict(one.state_dict())
    inputs = inputs_of(one, (2, 4, 4), with_shortcut=True, channels_last=False)
    torch.testing.assert_close(other(*inputs), one(*inputs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_copies_compute_the_same(form: str) -> None:
    layer = make_layer("window of G", mode="eval", **STEP, **FORMS[form])
    (x,) = inputs_of(layer, (2, 4, 4), with_shortcut=False, channels_last=False)
    expected = layer(x)
    saved = io.BytesIO()
    torch.save(layer, saved)
    saved.seek(0)
    copies = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(saved, weights_only=False)
    for twin in copies:
        assert torch.equal(twin(x), expected)
        with torch.no_grad():
            twin.weight.zero_()
        assert torch.equal(layer(x), expected), "a copy shares no weights"


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("form", FORMS)
def test_functional_call(form: str, plan: str) -> None:
    """With weights that are computed themselves: gradients flow through to what they are computed from."""
    layer = make_layer("window of G", plan=plan, bias=True, **{**STEP, **FORMS[form]})
    (x,) = inputs_of(layer, (2, 4, 4), with_shortcut=False, channels_last=False)
    expected = results(layer, x, used="forward")
    layer.zero_grad()
    halves = {name: (p.detach() / 2).requires_grad_() for name, p in layer.named_parameters()}
    output = torch.func.functional_call(layer, {name: 2 * half for name, half in halves.items()}, (x,))
    torch.testing.assert_close(output, expected["forward"], rtol=1e-9, atol=1e-9)
    (given,) = random_tensors(tuple(output.shape), seed=7)
    output.backward(given)
    for name, half in halves.items():
        torch.testing.assert_close(half.grad, 2 * expected[f"gradient of {name}"], rtol=1e-8, atol=1e-8)
    assert all(parameter.grad is None for parameter in layer.parameters())


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", ["reduce_weight", "weight", "bias", "reduce_norm.weight", "norm.running_var"])
def test_tensors_of_another_shape_are_refused(name: str, plan: str) -> None:
    """A slice of too short a vector is short, and adding it is broadcast: nothing later would notice."""
    layer = make_layer("window of G", plan=plan, bias=True, **{**STEP, **FORMS["bottleneck"]})
    tensors = dict(itertools.chain(layer.named_parameters(), layer.named_buffers()))
    (x,) = inputs_of(layer, (2, 4, 4), with_shortcut=False, channels_last=False)
    message = rf"{name} must have the shape \(.*\) it was made with, got \(1,"
    with pytest.raises(ValueError, match=message):
        torch.func.functional_call(layer, {name: tensors[name].detach()[:1]}, (x,))


def test_parameters_as_one_vector() -> None:
    layer, other = (make_layer("window of G", **STEP, **FORMS["bottleneck"]).eval() for _ in range(2))
    randomised(other, seed=3)
    (x,) = inputs_of(layer, (2, 4, 4), with_shortcut=False, channels_last=False)
    other.load_state_dict({**layer.state_dict(), **dict(other.named_parameters())})
    assert not torch.allclose(other(x), layer(x))
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(vector, other.parameters())
    torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)


@pytest.mark.parametrize(("form", "backend"), [("plain", "eager"), ("bottleneck", "aot_eager")])
def test_compiled(form: str, backend: str) -> None:
    torch._dynamo.reset()
    layer = SeqConv2d(4, 6, group_width=2, **STEP, **FORMS[form])
    randomised(layer.double())
    inputs = inputs_of(layer, (2, 4, 4), with_shortcut=True, channels_last=False)
    expected = results(copy.deepcopy(layer), *inputs, used="forward")
    compiled = copy.deepcopy(layer)
    compiled.compile(backend=backend)
    assert_same(results(compiled, *inputs, used="forward"), expected, tolerance=1e-9, case=form)
    compiled.zero_grad()


@pytest.mark.parametrize("form", FORMS)
def test_recomputed(form: str) -> None:
    layer = make_layer("window of G", mode="frozen", **STEP, **FORMS[form])
    (x,) = inputs_of(layer, (2, 4, 4), with_shortcut=False, channels_last=False)
    expected = results(layer, x, used="forward")
    layer.zero_grad()
    x.requires_grad_()
    output = checkpoint(layer, x, use_reentrant=False)
    (given,) = random_tensors(tuple(output.shape), seed=7)
    output.backward(given)
    assert torch.equal(x.grad, expected["gradient of x"])
    for name, parameter in layer.named_parameters():
        assert torch.equal(parameter.grad, expected[f"gradient of {name}"])


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("form", FORMS)
def test_shapes_without_values(form: str, plan: str) -> None:
    fields: dict[str, Any] = {"group_width": 4, "plan": plan, **STEP, **FORMS[form]}
    for stride, size in ((1, (9, 6)), (2, (5, 3))):
        layer = SeqConv2d(8, 12, stride=stride, device="meta", **fields)
        streams = layer.streams(torch.empty(2, 8, 9, 6, device="meta"))
        assert [tuple(stream.shape) for stream in streams] == [(2, 12, *size)] * 2


def test_dtype() -> None:
    layer = SeqConv2d(8, 12, stride=2, bias=True, group_width=4, form="bottleneck", dtype=torch.bfloat16, **STEP)
    assert {tensor.dtype for tensor in layer.state_dict().values()} == {torch.bfloat16, torch.int64}


@pytest.mark.parametrize(
    ("plan", "dropout", "training", "taken"),
    [
        ("auto", 0.0, True, FASTEST),
        ("auto", 0.5, True, "reference"),
        ("auto", 0.5, False, FASTEST),
        ("blocked", 0.0, True, "blocked"),
        ("reference", 0.0, True, "reference"),
        ("reference", 0.5, False, "reference"),
    ],
)
def test_the_plan_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, plan: str, dropout: float, training: bool, taken: str
) -> None:
    calls: list[str] = []

    def recorded(name: str) -> Any:
        original = getattr(seqconv, f"{name}_streams")

        def call(*arguments: Any, **keywords: Any) -> Any:
            calls.append(name)
            return original(*arguments, **keywords)

        return call

    for name in ("native", "blocked", "reference"):
        monkeypatch.setattr(seqconv, f"{name}_streams", recorded(name))
    layer = SeqConv2d(8, 8, group_width=4, dropout=dropout, plan=plan).train(training)
    layer(torch.ones(1, 8, 3, 16))
    assert calls == [taken]


@pytest.mark.parametrize("form", ["plain", "bottleneck"])
def test_panels_are_the_ones_asked_for_or_the_cheapest(form: str) -> None:
    fields: dict[str, Any] = {"group_width": 8, "pattern": "1G", "form": form, "device": "meta"}
    assert SeqConv2d(128, 128, panel=3, **fields).panels[0].steps == (0, 3)
    layer = SeqConv2d(128, 128, **fields)
    cheapest = cheapest_panel(layer.adjacency, 8, 9 if form == "plain" else 1)
    assert layer.panels == schedule(layer.adjacency, cheapest)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("channels", [(8, 12), (8, 10), (8, 8)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pattern", ["1G", "regular"])
def test_the_stream_that_forward_returns(pattern: str, stride: int, channels: tuple[int, int], plan: str) -> None:
    """A norm that nothing reads is left out."""
    fields: dict[str, Any] = {"stride": stride, "group_width": 2, "plan": plan, "pattern": pattern, **STEP}
    act, raw = (SeqConv2d(*channels, output=output, dtype=torch.float64, **fields) for output in ("act", "raw"))
    randomised(act)
    extends = stride == 2 and channels[1] > 8 and pattern == "1G"
    unread = "norm." if pattern == "regular" else "shrinking.norm." if extends else "no norm"
    assert raw.state_dict().keys() == {name for name in act.state_dict() if not name.startswith(unread)}
    raw.load_state_dict({name: tensor for name, tensor in act.state_dict().items() if name in raw.state_dict()})
    x, shortcut = inputs_of(act, (2, 4, 5), with_shortcut=True, channels_last=False, stride=stride)
    streams = copy.deepcopy(act).streams(x, shortcut)
    assert torch.equal(act(x, shortcut), streams.act)
    assert torch.equal(raw(x, shortcut), streams.raw)
    assert not torch.equal(streams.raw, streams.act)


@pytest.mark.parametrize(
    ("bias", "norm", "expected"), [(None, False, True), (None, True, False), (True, True, True), (False, False, False)]
)
def test_a_bias_stands_where_no_norm_does(bias: bool | None, norm: bool, expected: bool) -> None:
    for stride in (1, 2):
        layer = SeqConv2d(8, 12, stride=stride, bias=bias, norm=norm, group_width=4)
        assert (layer.bias is not None) is expected
        if layer.shrinking is not None:
            assert (layer.shrinking.conv.bias is not None) is expected


def assert_uniform(weight: Tensor, fan_out: int) -> None:
    bound = math.sqrt(6 / fan_out)
    assert 0.97 * bound < weight.max() <= bound
    assert -bound <= weight.min() < -0.97 * bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.06)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_weights_start_with_the_fan_out_of_their_own_convolution(groups: int, stride: int) -> None:
    """Not divided by the groups, and not that of all steps together."""
    torch.manual_seed(0)
    plain = SeqConv2d(32, 64, stride=stride, bias=True, group_width=8)
    assert_uniform(plain.weight, 9 * 8)
    assert plain.bias is not None
    assert not plain.bias.any()
    bottleneck = SeqConv2d(32, 64, stride=stride, groups=groups, group_width=8, form="bottleneck")
    assert bottleneck.reduce_weight is not None
    assert_uniform(bottleneck.reduce_weight, 8)
    assert_uniform(bottleneck.weight, 9 * 8)
    for shrinking in filter(None, (plain.shrinking, bottleneck.shrinking)):
        assert_uniform(shrinking.conv.weight, 9 * 64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [(8, 8), (8, 20), (12, 8)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_zero_init_passes_the_shortcut_on(channels: tuple[int, int], stride: int, form: str) -> None:
    layer = SeqConv2d(*channels, stride=stride, group_width=4, zero_init=True, **STEP, **FORMS[form])
    x, shortcut = (
        t.float() for t in inputs_of(layer, (2, 4, 4), with_shortcut=True, channels_last=False, stride=stride)
    )
    assert torch.equal(layer.streams(x, shortcut).raw, shortcut)
    zero = [name for name, p in layer.named_parameters() if p.dim() == 4 and not p.any()]
    assert zero == ["shrinking.conv.weight" if layer.extends else "weight"], "one convolution alone is enough"


@pytest.mark.parametrize("stride", [1, 2])
def test_reset_parameters_starts_afresh(stride: int) -> None:
    layer = SeqConv2d(8, 20, stride=stride, bias=True, group_width=4, form="bottleneck", **STEP)
    torch.manual_seed(0)
    layer.reset_parameters()
    fresh = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    randomised(layer)
    for buffer in layer.buffers():
        buffer += 1
    torch.manual_seed(0)
    layer.reset_parameters()
    assert_same(layer.state_dict(), fresh, tolerance=0, case=stride)


def test_gradients_reach_every_parameter() -> None:
    for stride, form in itertools.product((1, 2), FORMS.values()):
        layer = SeqConv2d(8, 12, stride=stride, group_width=4, bias=True, **STEP, **form)
        layer(torch.rand(2, 8, 4, 4)).square().sum().backward()
        for name, parameter in layer.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            # A constant that batch norm takes away again has no gradient but rounding.
            assert parameter.grad.any(), name


PATTERNS = (
    "window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, a list of each step's "
    "sources, or one of dense, log, harmonic, regular, group, split, dilated(window, dilation), shuffle(partitions), "
    "random(seed, p); got "
)
SAME = ": a step reads inputs and outputs alike; got "


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"out_channels": 20}, "out_channels must be a multiple of group_width 8, got 20"),
        ({"in_channels": 20}, "in_channels must be a multiple of group_width 8, got 20"),
        ({"in_channels": 20, "pattern": 2}, "in_channels must be a multiple of group_width 8, got 20"),
        (
            {"in_channels": 20, "pattern": "dense", "stride": 2},
            "in_channels must be a multiple of group_width 8, got 20",
        ),
        (
            {"in_channels": 12, "pattern": "dense", "stride": 2},
            "in_channels must be a multiple of group_width 8, got 12",
        ),
        ({"in_channels": 0}, "in_channels must be an integer at least 1, got 0"),
        ({"in_channels": 16.0}, "in_channels must be an integer at least 1, got 16.0"),
        ({"out_channels": -8}, "out_channels must be an integer at least 1, got -8"),
        ({"group_width": 0}, "group_width must be an integer at least 1, got 0"),
        ({"kernel_size": 2}, "kernel_size must be odd, so that outputs line up with inputs, got 2"),
        ({"kernel_size": (3, 4)}, "kernel_size must be odd, so that outputs line up with inputs, got (3, 4)"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size must be an integer or two, got (3, 3, 3)"),
        ({"kernel_size": 0}, "kernel_size must be an integer at least 1, got 0"),
        ({"kernel_size": 3.0}, "kernel_size must be an integer at least 1, got 3.0"),
        ({"kernel_size": "3"}, "kernel_size must be an integer or two, got '3'"),
        ({"stride": 0}, "stride must be an integer at least 1, got 0"),
        ({"stride": (1, 2, 3)}, "stride must be an integer or two, got (1, 2, 3)"),
        ({"dilation": (0, 1)}, "dilation must be an integer at least 1, got 0"),
        ({"padding": 0}, "padding must be 'same' or (1, 1)" + SAME + "0"),
        ({"padding": (1, 2)}, "padding must be 'same' or (1, 1)" + SAME + "(1, 2)"),
        ({"padding": True}, "padding must be an integer at least 0, got True"),
        ({"padding": 1.0}, "padding must be an integer at least 0, got 1.0"),
        ({"padding": None}, "padding must be an integer at least 0, got None"),
        ({"padding": -1}, "padding must be an integer at least 0, got -1"),
        ({"bias": "no"}, "bias must be true or false, got 'no'"),
        ({"padding": "valid"}, "padding must be 'same' or (1, 1)" + SAME + "'valid'"),
        ({"padding": 1, "dilation": 2}, "padding must be 'same' or (2, 2)" + SAME + "1"),
        ({"padding_mode": "reflect"}, "padding_mode must be one of zeros, got 'reflect'"),
        ({"norm": "no"}, "norm must be true or false, got 'no'"),
        ({"activation": 1}, "activation must be true or false, got 1"),
        ({"zero_init": None}, "zero_init must be true or false, got None"),
        ({"groups": 2}, "groups above 1 need form bottleneck, got 2 in form plain"),
        ({"groups": 3, "form": "bottleneck"}, "groups must divide group_width 8, got 3"),
        ({"groups": 0}, "groups must be an integer at least 1, got 0"),
        ({"form": "B"}, "form must be one of plain, bottleneck, got 'B'"),
        ({"plan": "fast"}, "plan must be one of auto, reference, blocked, native, got 'fast'"),
        ({"output": "both"}, "output must be one of act, raw, got 'both'"),
        ({"panel": 0}, "panel must be an integer at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be a number at least 0 and at most 0.99, got 1.0"),
        ({"dropout": -0.1}, "dropout must be a number at least 0 and at most 0.99, got -0.1"),
        (
            {"dropout": 0.5, "plan": "blocked"},
            "plan blocked cannot drop channels afresh in each step, got dropout 0.5: take auto",
        ),
        ({"pattern": 0}, "window in groups must be an integer at least 1, got 0"),
        ({"pattern": -1}, PATTERNS + "-1"),
        ({"pattern": "sparse"}, PATTERNS + "'sparse'"),
        ({"pattern": None}, PATTERNS + "None"),
        ({"pattern": [[0], []]}, "step 2 reads nothing: it needs at least one group before it"),
        (
            {"pattern": [[0], [-2]]},
            "explicit(steps=2, pairs=2) with G = 2 and g = 2: step 2 must read groups from -1 to 1, got -2",
        ),
        (
            {"pattern": "dilated(1, 3)"},
            "dilated(1, 3) with G = 2 and g = 2: step 1 reads nothing: it needs at least one group before it",
        ),
    ],
)
def test_layer_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        SeqConv2d(**{"in_channels": 16, "out_channels": 16, "group_width": 8, **fields})
    assert str(error.value) == message


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    ("fields", "x", "shortcut", "message"),
    [
        ({}, (2, 24, 4, 4), None, "input must be (N, 16, H, W), got shape (2, 24, 4, 4)"),
        ({}, (16, 4, 4), None, "input must be (N, 16, H, W), got shape (16, 4, 4)"),
        ({}, (2, 16, 4, 4, 4), None, "input must be (N, 16, H, W), got shape (2, 16, 4, 4, 4)"),
        ({}, (2, 16, 4, 4), (2, 16, 4, 4), "the shape (2, 8, 4, 4) of the output, got (2, 16, 4, 4)"),
        ({}, (2, 16, 4, 4), (1, 8, 4, 4), "the shape (2, 8, 4, 4) of the output, got (1, 8, 4, 4)"),
        ({}, (2, 16, 4, 4), (2, 8, 1, 1), "the shape (2, 8, 4, 4) of the output, got (2, 8, 1, 1)"),
        ({}, (2, 16, 4, 4), (8, 4, 4), "the shape (2, 8, 4, 4) of the output, got (8, 4, 4)"),
        ({"stride": 2}, (2, 16, 5, 4), (2, 8, 5, 4), "the shape (2, 8, 3, 2) of the output, got (2, 8, 5, 4)"),
        (
            {"stride": 2, "pattern": "regular"},
            (2, 16, 5, 4),
            (2, 8, 2, 2),
            "the shape (2, 8, 3, 2) of the output, got (2, 8, 2, 2)",
        ),
    ],
)
def test_forward_refuses(
    fields: dict[str, Any], x: tuple[int, ...], shortcut: tuple[int, ...] | None, message: str, plan: str
) -> None:
    layer = SeqConv2d(16, 8, group_width=4, plan=plan, **fields)
    for call in (layer, layer.streams):
        with pytest.raises(ValueError) as error:
            call(torch.zeros(x), None if shortcut is None else torch.zeros(shortcut))
        assert str(error.value) == (message if shortcut is None else f"shortcut must have {message}")


def test_repr_says_what_the_layer_reads() -> None:
    shown = repr(SeqConv2d(16, 8, group_width=4, pattern=3))
    assert "16, 8, kernel_size=(3, 3), group_width=4, pattern=3, form=plain" in shown
    assert "pattern=dense, form=bottleneck" in repr(SeqConv2d(16, 8, group_width=4, pattern="dense", form="bottleneck"))
