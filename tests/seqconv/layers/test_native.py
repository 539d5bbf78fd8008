"""The native plan against the reference: exactly in whole numbers, up to rounding with norms; and what it refuses."""

import functools
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from seqconv.layers import native
from seqconv.layers.seqconv import SeqConv2d
from seqconv.native import library
from tests.seqconv.layers.examples import (
    FORMS,
    GEOMETRIES,
    MODES,
    SIZES,
    STEPS,
    assert_same,
    inputs_of,
    make_layer,
    results,
    set_mode,
    with_plan,
)
from tests.seqconv.layers.test_blocked import kept_bytes
from tests.seqconv.strategies import patterns

pytestmark = pytest.mark.skipif(library.unavailable() is not None, reason=f"no library: {library.unavailable()}")

USED = ("raw", "act", "both", "forward")
BATCHES = (16, 17, 31, 33)
"""Whole blocks of images and others, however many images one has."""
LARGEST = 2**24
"""Whole numbers below it are exact in float32, and so are their sums in any order."""


def packed(layer: SeqConv2d) -> str:
    """Name of the parameter that holds the kernels of all steps."""
    return "weight" if layer.reduce_weight is None else "reduce_weight"


def whole_numbers(layer: SeqConv2d, seed: int) -> SeqConv2d:
    """Weights of which most are 0 and the others 1 or -1, one or two for each output, so that no sum becomes large."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            reads = parameter[0].numel() / (layer.out_groups if name == packed(layer) else 1)
            signs = torch.randint(0, 2, parameter.shape, generator=generator).to(parameter.dtype) * 2 - 1
            parameter.copy_(signs * (torch.rand(parameter.shape, generator=generator) < 1.5 / reads))
    return layer


def check_exactly(layer: SeqConv2d, *inputs: Tensor, used: str, case: Any) -> None:
    """The layer is in float64; its norms, if it has any, are left out of the comparison by the caller."""
    inputs = tuple(tensor.mul(1.5).round() for tensor in inputs)
    expected = results(with_plan(layer, "reference"), *inputs, used=used, whole=True)
    assert max(float(tensor.detach().abs().max()) for tensor in expected.values()) < LARGEST, case
    found = results(with_plan(layer, "native").float(), *(tensor.float() for tensor in inputs), used=used, whole=True)
    assert found.keys() == expected.keys(), case
    for name, value in expected.items():
        assert torch.equal(found[name].double(), value), f"{name} of {case}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SIZES)
def test_every_pattern_and_form_in_whole_numbers(kind: str, form: str) -> None:
    """Every geometry; all else is drawn."""
    rng = random.Random(f"{kind} {form}")
    for geometry in GEOMETRIES:
        for k in (2, 4, 6, 8, 20):
            fields: dict[str, Any] = {"norm": False, "activation": rng.random() < 0.7, "bias": rng.random() < 0.5}
            fields |= {"output": rng.choice(["act", "raw"]), **geometry, **FORMS[form]}
            layer = whole_numbers(make_layer(kind, group_width=k, **fields), seed=k)
            size = rng.choice(BATCHES), rng.choice([1, 3, 6]), rng.choice([1, 2, 4, 6, 8, 11, 16, 32])
            used, channels_last = rng.choice(USED), rng.random() < 0.5
            inputs = inputs_of(layer, size, with_shortcut=rng.random() < 0.5, channels_last=channels_last)
            check_exactly(layer, *inputs, used=used, case=(k, fields, size, used, channels_last, len(inputs)))


@st.composite
def drawn_layers(draw: st.DrawFn) -> tuple[SeqConv2d, dict[str, Any]]:
    k, in_groups, out_groups = draw(st.sampled_from([1, 2, 3, 8])), draw(st.integers(1, 7)), draw(st.integers(1, 19))
    form = draw(st.sampled_from(list(FORMS.values()))) if k % 2 == 0 else {"form": draw(st.sampled_from(["plain"]))}
    fields: dict[str, Any] = {
        "pattern": draw(patterns(in_groups, out_groups)),
        "norm": False,
        "activation": draw(st.booleans()),
        **form,
        **draw(st.sampled_from(GEOMETRIES)),
    }
    layer = SeqConv2d(k * in_groups, k * out_groups, group_width=k, **fields).double()
    return whole_numbers(layer, seed=draw(st.integers(0, 1000))), fields


@given(
    drawn_layers(),
    st.tuples(st.sampled_from(BATCHES), st.integers(1, 4), st.sampled_from([1, 3, 4, 8, 16, 48])),
    st.booleans(),
    st.booleans(),
    st.sampled_from(USED),
)
@settings(max_examples=100)
def test_any_layer_in_whole_numbers(
    drawn: tuple[SeqConv2d, dict[str, Any]],
    size: tuple[int, int, int],
    with_shortcut: bool,
    channels_last: bool,
    used: str,
) -> None:
    layer, fields = drawn
    inputs = inputs_of(layer, size, with_shortcut=with_shortcut, channels_last=channels_last)
    with torch.no_grad():
        largest = max(float(t.abs().max()) for t in with_plan(layer, "reference").streams(*inputs))
    if largest < 1000:  # gradients grow as outputs do
        check_exactly(layer, *inputs, used=used, case=(fields, size, with_shortcut, channels_last, used))


def away_from_zero(layer: SeqConv2d) -> SeqConv2d:
    """Norms whose results are far from where ReLU bends: rounding must not decide which side a value falls on."""
    for norm in (layer.reduce_norm, layer.norm):
        if norm is not None:
            with torch.no_grad():
                norm.weight.mul_(0.02)
                norm.bias.copy_(torch.tensor([1.0, 1.5, -1.0]).repeat(len(norm.bias))[: len(norm.bias)])
    return layer


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["dense", "window of G", "split", "explicit", "regular"])
def test_norms(kind: str, form: str, mode: str) -> None:
    """As exact as the blocked plan in float32."""
    rng = random.Random(f"{kind} {form} {mode}")
    for step in (step for step in STEPS if step["norm"]):
        for k in (2, 8, 20):
            layer = away_from_zero(make_layer(kind, group_width=k, mode=mode, **step, **FORMS[form]))
            size, used = (rng.choice(BATCHES), 3, rng.choice([4, 8, 16])), rng.choice(USED)
            channels_last = rng.random() < 0.5
            inputs = inputs_of(layer, size, with_shortcut=rng.random() < 0.5, channels_last=channels_last)
            expected = results(with_plan(layer, "reference"), *inputs, used=used)
            floats = [tensor.float() for tensor in inputs]
            blocked, found = (
                results(with_plan(layer, plan).float(), *floats, used=used) for plan in ("blocked", "native")
            )
            for name, exact in expected.items():
                size_of, of_blocked, of_native = (
                    float(tensor.detach().double().norm())
                    for tensor in (exact, blocked[name] - exact, found[name] - exact)
                )
                case = (name, step, k, size, used, channels_last)
                assert of_native <= 5 * of_blocked + 1e-4 * max(1.0, size_of), case


def test_running_statistics_that_are_plain_means() -> None:
    layer = make_layer("window of G", group_width=4, norm=True, activation=True, form="bottleneck")
    for norm in (layer.reduce_norm, layer.norm):
        assert norm is not None
        norm.reset_running_stats()
        norm.momentum = None
    twin = with_plan(layer, "native").float()
    for seed in range(3):
        x = torch.randn(16, layer.in_channels, 4, 8, generator=torch.Generator().manual_seed(seed))
        layer(x.double())
        twin(x)
    for (name, expected), found in zip(layer.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-6, msg=name)


def float_layer(**fields: Any) -> SeqConv2d:
    layer = SeqConv2d(32, 48, group_width=8, norm=True, activation=True, plan="native", **fields)
    return layer


@pytest.mark.parametrize("form", FORMS)
def test_threads_change_nothing(form: str) -> None:
    """Not even the last bit: what is added up, and in which order, does not depend on them."""
    layer, before = float_layer(**FORMS[form]), torch.get_num_threads()
    x = torch.randn(24, 32, 8, 8)
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(results(with_plan(layer, "native"), x))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(other[name], value) for name, value in found[0].items())


def test_several_threads_compute_at_once() -> None:
    layers = [float_layer(pattern=pattern) for pattern in (1, 2, 3, "dense")]
    inputs = [torch.randn(16, 32, 4 + 4 * i, 8) for i in range(4)]
    expected = [results(with_plan(layer, "native"), x) for layer, x in zip(layers, inputs, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            copies = [with_plan(layer, "native") for layer in layers]
            for found, right in zip(pool.map(results, copies, inputs), expected, strict=True):
                assert all(torch.equal(found[name], value) for name, value in right.items())


@pytest.mark.parametrize("form", FORMS)
def test_inputs_that_are_not_dense(form: str) -> None:
    """A slice of channels, a transposed image, an expanded gradient."""
    layer = float_layer(**FORMS[form])
    whole = torch.randn(16, 40, 4, 8)
    for x in (whole[:, 4:36], whole[:, :32].transpose(2, 3), whole.to(memory_format=torch.channels_last)[:, 4:36]):
        expected = results(with_plan(layer, "native"), x.contiguous())
        assert_same(results(with_plan(layer, "native"), x), expected, tolerance=0, case=x.stride())
    x = whole[:, :32].clone().requires_grad_()
    with_plan(layer, "native")(x).sum().backward()
    gradient = x.grad
    x = whole[:, :32].clone().requires_grad_()
    y = with_plan(layer, "native")(x)
    y.backward(torch.ones_like(y))
    assert torch.equal(gradient, x.grad)


@pytest.mark.parametrize("form", FORMS)
def test_what_needs_no_gradient_gets_none(form: str) -> None:
    expected = results(with_plan(float_layer_of(form), "native"), torch.ones(16, 32, 4, 8))
    for frozen in ([], ["weight"], ["reduce_weight"], ["weight", "reduce_weight"]):
        layer = float_layer_of(form)
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_(name not in frozen)
        layer(torch.ones(16, 32, 4, 8)).backward(torch.ones(16, 48, 4, 8))
        for name, parameter in layer.named_parameters():
            assert (parameter.grad is None) == (name in frozen), name
    assert expected["gradient of x"].shape == (16, 32, 4, 8)


def float_layer_of(form: str) -> SeqConv2d:
    torch.manual_seed(0)
    return float_layer(**FORMS[form])


@pytest.mark.parametrize(("form", "inputs_worth"), [("plain", 2), ("bottleneck", 3), ("subgroups", 3)])
def test_what_is_kept_for_the_backward_pass(form: str, inputs_worth: int) -> None:
    """The input and the values before each norm; whatever the pattern, in units of the input."""
    for pattern in ("1G", "dense", "log"):
        layer = SeqConv2d(64, 64, group_width=8, pattern=pattern, norm=True, activation=True, **FORMS[form])
        x = torch.rand(8, 64, 16, 16, requires_grad=True)
        assert (
            inputs_worth
            <= kept_bytes(with_plan(layer, "native"), x) / x.untyped_storage().nbytes()
            < inputs_worth + 0.01
        )
        with torch.no_grad():
            assert kept_bytes(with_plan(layer, "native"), x) == 0


def test_a_weight_that_changed_in_between() -> None:
    layer = float_layer()
    y = layer(torch.rand(16, 32, 4, 8))
    with torch.no_grad():
        layer.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("dtype", "size", "reason"),
    [
        (torch.float64, (16, 32, 4, 8), "it is for float32"),
        (torch.bfloat16, (16, 32, 4, 8), "it is for float32"),
        (torch.float32, (1, 32, 8, 1), "1 images of 1 columns fill too few of"),
    ],
)
def test_refusals(dtype: torch.dtype, size: tuple[int, ...], reason: str) -> None:
    layer, x = float_layer().to(dtype), torch.rand(size, dtype=dtype)
    with pytest.raises(ValueError, match=f"plan native cannot compute this: {reason}.*; take auto"):
        layer(x)
    assert with_plan(layer, "auto")(x).shape == (size[0], 48, *size[2:])


def test_autocast_is_refused() -> None:
    layer, x = float_layer(), torch.rand(16, 32, 4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert with_plan(layer, "auto")(x).dtype == torch.bfloat16
        with pytest.raises(ValueError, match="it is for float32"):
            layer(x)


def test_a_stride_is_refused() -> None:
    layer = SeqConv2d(32, 32, stride=2, group_width=8, pattern="group", plan="native")
    with pytest.raises(ValueError, match="it is for a stride of 1"):
        layer(torch.rand(16, 32, 8, 8))


def test_what_is_traced_is_not_computed() -> None:
    layer, x = with_plan(float_layer(), "auto"), torch.rand(16, 32, 4, 8)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    with FlopCounterMode(display=False) as expected:
        with_plan(layer, "blocked")(x)
    assert counter.get_total_flops() == expected.get_total_flops() > 0
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert layer(mode.from_tensor(x)).shape == (16, 48, 4, 8)
    assert layer.to("meta")(x.to("meta")).is_meta


def test_memory_to_work_in_stays_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = native._Workspace()
    first = workspace.of(1000)
    assert workspace.of(500) is first
    monkeypatch.setattr(native, "HELD_FLOATS", 1500)
    assert workspace.of(2000) is not first
    assert workspace.held is None


def strided(tensor: Tensor | None) -> nn.Parameter:
    """The same values, every other of a longer tensor."""
    assert tensor is not None
    return nn.Parameter(torch.stack([tensor.detach(), tensor.detach() + 5], dim=1)[:, 0])


def poisoned(kept: int) -> Tensor:
    return torch.full((kept,), float("nan"))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_left_in_memory_is_not_read(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from the last call nor as the allocator gives it; in places without an image, unread groups and pads."""
    layer = float_layer(pattern="split", **FORMS[form])
    for channels_last in (False, True):
        x, shortcut = inputs_of(layer, (17, 3, 8), with_shortcut=True, channels_last=channels_last)
        inputs = x.float(), shortcut.float()
        monkeypatch.setattr(native._workspace, "of", torch.zeros)
        expected = results(with_plan(layer, "native"), *inputs)
        monkeypatch.setattr(native._workspace, "of", poisoned)
        monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
        torch.use_deterministic_algorithms(True)
        try:
            found = results(with_plan(layer, "native"), *inputs)
        finally:
            torch.use_deterministic_algorithms(False)
        assert_same(found, expected, tolerance=0, case=channels_last)


@pytest.mark.parametrize("form", FORMS)
def test_places_without_an_image_do_not_overflow(form: str) -> None:
    """Where nothing varies, norms multiply by hundreds what differs from the mean, as zeros would, in all 32 steps."""
    layer = SeqConv2d(16, 256, 1, group_width=8, norm=True, activation=True, pattern="dense", **FORMS[form])
    for channels_last in (torch.contiguous_format, torch.channels_last):
        x = torch.full((17, 16, 4, 8), 3.0).to(memory_format=channels_last)
        twin = with_plan(layer, "native")
        assert all(stream.isfinite().all() for stream in twin.streams(x))
        assert all(buffer.isfinite().all() for buffer in twin.buffers())


def after(layer: SeqConv2d, x: Tensor, given: Tensor) -> list[tuple[str, Any]]:
    """Output, gradients and buffers where the loss is as little finite as the output."""
    x = x.clone().requires_grad_()
    y = layer(x)
    torch.autograd.backward(y, torch.where(y.isfinite(), given, y.detach()))
    gradients = [(name, parameter.grad) for name, parameter in layer.named_parameters()]
    return [("y", y), ("x", x.grad), *gradients, *layer.named_buffers()]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_finite_comes_through(form: str, mode: str, value: float) -> None:
    """As in the reference: to nothing else, and not stopped by ReLU on its way back."""
    for norm in (False, True):
        layer = SeqConv2d(16, 24, group_width=8, norm=norm, activation=True, **FORMS[form])
        with torch.no_grad():
            for weight in layer.parameters():
                weight.abs_()  # no infinity minus another, which depends on the order
        set_mode(layer, mode)
        x, given = torch.rand(18, 16, 3, 8), torch.rand(18, 24, 3, 8)
        x[3, 5, 1, 2] = value
        twins = with_plan(layer, "native"), with_plan(layer, "reference")
        for (name, found), (_, expected) in zip(*(after(twin, x, given) for twin in twins), strict=True):
            assert torch.equal(found.isfinite(), expected.isfinite()), (name, norm)


def test_the_variance_of_what_does_not_vary() -> None:
    """Not what is left of eps, which may be below zero."""
    layer = SeqConv2d(16, 16, group_width=8, norm=True)
    assert layer.norm is not None
    layer.norm.momentum, layer.norm.eps = 1.0, 0.1
    with torch.no_grad():
        layer.weight.mul_(1e-4)
    for x in (torch.zeros(16, 16, 4, 8), torch.randn(16, 16, 4, 8)):
        twins = with_plan(layer, "native"), with_plan(layer, "reference").double()
        twins[0](x), twins[1](x.double())
        found, expected = (dict(twin.named_buffers())["norm.running_var"].double() for twin in twins)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_parameters_and_statistics_that_are_not_dense(form: str, mode: str) -> None:
    layer = set_mode(float_layer(bias=True, **FORMS[form]), mode)
    twin, x = with_plan(layer, "native"), torch.randn(16, 32, 4, 8)
    twin.bias = strided(twin.bias)
    twin.weight = nn.Parameter(twin.weight.detach().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0))
    for norm in filter(None, (twin.reduce_norm, twin.norm)):
        norm.weight, norm.bias = strided(norm.weight), strided(norm.bias)
        norm.running_mean, norm.running_var = strided(norm.running_mean).detach(), strided(norm.running_var).detach()
    assert_same(results(twin, x), results(with_plan(layer, "native"), x), tolerance=0, case=form)


def test_a_negative_view() -> None:
    layer, x = float_layer(), torch.randn(16, 32, 4, 8)
    assert torch.equal(with_plan(layer, "native")(torch._neg_view(x)), with_plan(layer, "native")(-x))


@pytest.mark.parametrize("default", [torch.float16, torch.float64])
def test_defaults_of_torch_change_nothing(default: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, before = float_layer(), torch.randn(16, 32, 4, 8), torch.get_default_dtype()
    monkeypatch.setattr(native, "_workspace", native._Workspace())
    torch.set_default_dtype(default)
    try:
        with torch.device("meta"):
            layer(x)
    finally:
        torch.set_default_dtype(before)
    held = native._workspace.held
    assert held is not None
    assert (held.dtype, held.device.type) == (torch.float32, "cpu")


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoints_and_a_layer_used_twice(use_reentrant: bool) -> None:
    layer = SeqConv2d(32, 32, group_width=8, norm=True, activation=True, plan="native")
    gradients = []
    for call in (layer, functools.partial(checkpoint, layer, use_reentrant=use_reentrant)):
        x = torch.ones(16, 32, 4, 8).requires_grad_()
        y = call(call(x))
        torch.autograd.backward(y.mul_(1).sum())
        gradients.append(
            {name: leaf.grad.clone() for name, leaf in [("x", x), *layer.named_parameters()] if leaf.grad is not None}
        )
        layer.zero_grad()
    assert_same(*gradients, tolerance=0, case=use_reentrant)


def test_two_backward_passes() -> None:
    layer, x = float_layer(), torch.randn(16, 32, 4, 8, requires_grad=True)
    y = layer(x)
    first, second = (torch.autograd.grad(y.sum(), [x, *layer.parameters()], retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_network_learns_the_same() -> None:
    """A few steps of training, in the layers of a residual block."""

    def trained(plan: str) -> list[float]:
        torch.manual_seed(0)
        first, last = (
            SeqConv2d(16, 16, group_width=4, norm=True, activation=True, form="bottleneck", plan=plan) for _ in range(2)
        )
        head = nn.Linear(16, 2)
        parameters = [*first.parameters(), *last.parameters(), *head.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        x = torch.randn(32, 16, 8, 8).relu_()
        labels = (x[:, 0].mean((1, 2)) > x[:, 1].mean((1, 2))).long()
        losses = []
        for _ in range(30):
            streams = last.streams(first(x), x)
            loss = nn.functional.cross_entropy(head(streams.act.mean((2, 3))), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    found, expected = trained("native"), trained("reference")
    assert found == pytest.approx(expected, rel=1e-3)
    assert expected[-1] < 0.8 * expected[0]
