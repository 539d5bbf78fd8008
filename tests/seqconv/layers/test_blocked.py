"""The blocked plan against the reference: outputs, all gradients, buffers; and what it keeps for the backward pass."""

import copy
import gc
import itertools
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seqconv.layers import columns
from seqconv.layers.seqconv import SeqConv2d
from tests.seqconv.layers.examples import (
    FORMS,
    GEOMETRIES,
    MODES,
    SIZES,
    STEPS,
    assert_same,
    error,
    inputs_of,
    make_layer,
    random_tensors,
    randomised,
    results,
    set_mode,
    with_plan,
)
from tests.seqconv.strategies import patterns

USED = ("raw", "act", "both", "forward")


def check_plan(layer: SeqConv2d, *inputs: Tensor, used: str = "both", case: Any) -> None:
    """What the layer's plan gives is what the reference gives."""
    expected = results(with_plan(layer, "reference"), *inputs, used=used)
    assert_same(results(layer, *inputs, used=used), expected, tolerance=1e-8, case=case)


@pytest.mark.parametrize("panel", [1, 2, 3, 100, None])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SIZES)
def test_every_pattern_and_form(kind: str, form: str, panel: int | None) -> None:
    """Everything else is drawn: there are more combinations than time."""
    rng = random.Random(f"{kind} {form} {panel}")
    for channels_last in (False, True):
        fields = {**rng.choice(STEPS), **rng.choice(GEOMETRIES), "output": rng.choice(["act", "raw"])}
        use = {"mode": rng.choice(MODES), "plan": rng.choice(["blocked", "auto"])}
        with_shortcut, used = rng.random() < 0.5, rng.choice(USED)
        size = rng.choice([(2, 5, 4), (3, 4, 7), (1, 3, 3), (2, 6, 1)])
        layer = make_layer(kind, panel=panel, **use, **fields, **FORMS[form])
        inputs = inputs_of(layer, size, with_shortcut=with_shortcut, channels_last=channels_last)
        check_plan(layer, *inputs, used=used, case=(fields, use, with_shortcut, used, size, channels_last))


@st.composite
def drawn_layers(draw: st.DrawFn) -> tuple[SeqConv2d, dict[str, Any]]:
    k, in_groups, out_groups = draw(st.sampled_from([2, 4])), draw(st.integers(1, 7)), draw(st.integers(1, 9))
    fields: dict[str, Any] = {
        "pattern": draw(patterns(in_groups, out_groups)),
        "panel": draw(st.sampled_from([None, 1, 2, 3, 4, 5, 8])),
        **draw(st.sampled_from(list(FORMS.values()))),
        **draw(st.sampled_from(STEPS)),
        **draw(st.sampled_from(GEOMETRIES)),
    }
    layer = SeqConv2d(k * in_groups, k * out_groups, group_width=k, plan="blocked", **fields).double()
    randomised(layer)
    return set_mode(layer, draw(st.sampled_from(MODES))), fields


@given(
    drawn_layers(),
    st.tuples(st.integers(1, 3), st.integers(2, 4), st.integers(1, 4)),
    st.booleans(),
    st.booleans(),
    st.sampled_from(USED),
    st.sampled_from([0, 100, 1 << 20]),
)
@settings(max_examples=150)
def test_any_layer(
    drawn: tuple[SeqConv2d, dict[str, Any]],
    size: tuple[int, int, int],
    with_shortcut: bool,
    channels_last: bool,
    used: str,
    tile_bytes: int,
) -> None:
    layer, fields = drawn
    inputs = inputs_of(layer, size, with_shortcut=with_shortcut, channels_last=channels_last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "TILE_BYTES", tile_bytes)
        patch.setattr(columns, "MIN_IMAGES", 1)
        check_plan(layer, *inputs, used=used, case=fields)


@pytest.mark.parametrize("missing", [1, 3])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["dense", "dense, one step", "regular"])
def test_an_oldest_group_that_is_not_whole(kind: str, form: str, missing: int) -> None:
    for panel in (1, 3, None):
        layer = make_layer(kind, group_width=4, missing=missing, panel=panel, **STEPS[0], **FORMS[form])
        for channels_last in (False, True):
            inputs = inputs_of(layer, (2, 4, 5), with_shortcut=True, channels_last=channels_last)
            check_plan(layer, *inputs, case=(panel, channels_last))


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize("form", FORMS)
def test_images_gathered_in_many_tiles(monkeypatch: pytest.MonkeyPatch, form: str, channels_last: bool) -> None:
    """40 images in tiles of some, the last one not full."""
    monkeypatch.setattr(columns, "TILE_BYTES", 1)
    monkeypatch.setattr(columns, "MIN_IMAGES", 3)
    for kind in ("window of G", "explicit"):
        layer = make_layer(kind, kernel_size=1, panel=2, **STEPS[0], **FORMS[form])
        inputs = inputs_of(layer, (40, 10, 11), with_shortcut=True, channels_last=channels_last)
        tiles = columns.tile_slices(inputs[0], torch.empty(2, 4, 1, 1))
        assert tiles[:2] == [slice(0, 3), slice(3, 6)]
        check_plan(layer, *inputs, case=kind)


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stride", [2, (1, 3)])
def test_a_stride_of_steps_that_read_inputs_alone(form: str, channels_last: bool, stride: Any) -> None:
    for kind in ("regular", "group of more inputs", "shuffle"):
        layer = make_layer(kind, stride=stride, **STEPS[0], **FORMS[form])
        shape = (2, layer.out_channels, 3 if stride == 2 else 5, 4 if stride == 2 else 3)
        (x,) = inputs_of(layer, (2, 5, 7), with_shortcut=False, channels_last=channels_last)
        check_plan(layer, x, *random_tensors(shape), case=kind)


VIEWS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "channel slice": ((3, 14, 4, 5), lambda whole: whole[:, 3:11]),
    "every other image": ((6, 8, 4, 5), lambda whole: whole[::2]),
    "rows and columns": ((3, 8, 6, 9), lambda whole: whole[:, :, 1:5, ::2]),
    "transposed": ((3, 8, 5, 4), lambda whole: whole.transpose(2, 3)),
    "images last": ((8, 4, 5, 3), lambda whole: whole.permute(3, 0, 1, 2)),
    "expanded images": ((1, 8, 4, 5), lambda whole: whole.expand(3, 8, 4, 5)),
    "expanded channels": ((3, 1, 4, 5), lambda whole: whole.expand(3, 8, 4, 5)),
    "expanded pixels": ((3, 8, 1, 1), lambda whole: whole.expand(3, 8, 4, 5)),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("view", VIEWS)
def test_inputs_that_are_views(view: str, form: str, memory_format: torch.memory_format) -> None:
    shape, of = VIEWS[view]
    layer = make_layer("window of G", panel=3, **STEPS[0], **FORMS[form])
    assert layer.out_channels == 12

    def passed(layer: SeqConv2d) -> dict[str, Tensor]:
        whole, shortcut = (
            t.to(memory_format=memory_format).requires_grad_() for t in random_tensors(shape, (3, 12, 5, 10))
        )
        streams = layer.streams(of(whole), shortcut[:, :, 1:, ::2])
        (streams.raw.sum() + streams.act.square().sum()).backward()
        weights = {name: p.grad for name, p in layer.named_parameters()}
        return {**streams._asdict(), "x": whole.grad, "shortcut": shortcut.grad, **weights}

    expected = passed(with_plan(layer, "reference"))
    assert_same(passed(layer), expected, tolerance=1e-8, case=view)


GIVEN: dict[str, Callable[[Tensor], Tensor]] = {
    "one value": lambda d: d[:1, :1, :1, :1].expand_as(d),
    "one value a pixel": lambda d: d[:, :1].expand_as(d),
    "channel slice": lambda d: torch.cat([d, d], dim=1)[:, 3:15],
    "transposed": lambda d: d.transpose(2, 3).contiguous().transpose(2, 3),
    "channels_last": lambda d: d.to(memory_format=torch.channels_last),
    "NCHW": lambda d: d.contiguous(),
}


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("given", GIVEN)
def test_gradients_and_shortcuts_of_another_format(given: str, form: str, channels_last: bool) -> None:
    """What comes back is not ours to choose, or to write to."""
    for step, count in itertools.product((STEPS[0], STEPS[2], STEPS[4]), (1, 2)):
        layer = make_layer("window of G", panel=3, **step, **FORMS[form])
        inputs = inputs_of(layer, (2, 4, 5), with_shortcut=True, channels_last=channels_last)
        inputs[1] = GIVEN[given](inputs[1])
        d = [GIVEN[given](tensor) for tensor in random_tensors((2, 12, 4, 5), (2, 12, 4, 5), seed=3)[:count]]
        before = [tensor.clone() for tensor in (*inputs, *d)]
        found, expected = (
            torch.autograd.grad(twin.streams(*leaves)[-count:], [*leaves, *twin.parameters()], d)
            for twin in (layer, with_plan(layer, "reference"))
            for leaves in [[tensor.detach().requires_grad_() for tensor in inputs]]
        )
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
        assert all(map(torch.equal, (*inputs, *d), before)), "nothing that was given has been written to"


class Both(nn.Module):
    """`layer.streams` as a module's forward."""

    def __init__(self, layer: SeqConv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Tensor) -> Any:
        return self.layer.streams(*inputs)


@pytest.mark.parametrize("plan", ["reference", "blocked"])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_finite_differences(form: str, plan: str) -> None:
    layer = SeqConv2d(
        6, 8, group_width=2, pattern=2, panel=3, plan=plan, norm=True, activation=True, bias=True, **FORMS[form]
    )
    randomised(layer.double())
    x, shortcut = (t.requires_grad_() for t in random_tensors((2, 6, 2, 3), (2, 8, 2, 3)))
    names = [name for name, _ in layer.named_parameters()]

    def streams(*tensors: Tensor) -> tuple[Tensor, ...]:
        x, shortcut, *parameters = tensors
        given = {f"layer.{name}": tensor for name, tensor in zip(names, parameters, strict=True)}
        return tuple(torch.func.functional_call(Both(layer), given, (x, shortcut)))

    parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(streams, (x, shortcut, *parameters), eps=1e-6, atol=1e-5, rtol=1e-4)


def assert_close_as_a_whole(
    found: dict[str, Tensor], exact: dict[str, Tensor], *, limit: float, case: Any, stepwise: dict[str, Tensor]
) -> None:
    """Rounding errors stay below a share of each tensor's size, or below some times those of the reference plan.

    One value that rounding moves across a ReLU's kink can be some per cent of a gradient at these sizes.
    """
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        allowed = max(limit, 3 * error(stepwise[name], value))
        assert error(found[name], value) <= allowed, (name, case, error(found[name], value), allowed)


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize("form", FORMS)
def test_float32(form: str, channels_last: bool) -> None:
    for kind in ("dense", "window of G", "log", "regular", "random"):
        layer = make_layer(kind, group_width=4, **STEPS[0], **FORMS[form]).float()
        inputs = [t.float() for t in inputs_of(layer, (3, 6, 6), with_shortcut=True, channels_last=channels_last)]
        exact = results(with_plan(layer, "reference").double(), *[t.double() for t in inputs])
        stepwise = results(with_plan(layer, "reference"), *inputs)
        assert_close_as_a_whole(results(layer, *inputs), exact, limit=1e-5, case=kind, stepwise=stepwise)


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("autocast", [False, True], ids=["bfloat16", "autocast"])
def test_bfloat16(form: str, autocast: bool, channels_last: bool) -> None:
    for kind in ("dense", "window of G", "regular"):
        layer = make_layer(kind, group_width=4, **STEPS[0], **FORMS[form])
        inputs = inputs_of(layer, (4, 6, 6), with_shortcut=True, channels_last=channels_last)
        exact = results(with_plan(layer, "reference"), *inputs)
        dtypes = (torch.float32 if autocast else torch.bfloat16, torch.bfloat16)  # Shortcuts are outputs of a layer.
        given = [tensor.to(dtype) for tensor, dtype in zip(inputs, dtypes, strict=True)]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found, stepwise = (
                results(with_plan(layer, plan).to(dtypes[0]), *given) for plan in ("blocked", "reference")
            )
        assert {name: t.dtype for name, t in found.items()} == {name: t.dtype for name, t in stepwise.items()}
        assert_close_as_a_whole(found, exact, limit=0.06, case=kind, stepwise=stepwise)


def test_autocast_leaves_float64_alone() -> None:
    layer = make_layer("window of G", **STEPS[0])
    (x,) = inputs_of(layer, (2, 4, 4), with_shortcut=False, channels_last=False)
    with torch.autocast("cpu", torch.bfloat16):
        check_plan(layer, x, case="float64")
        assert layer(x).dtype == torch.float64


@pytest.mark.parametrize("form", FORMS)
def test_an_average_of_all_batches(form: str) -> None:
    """momentum None, over several batches."""
    layer = make_layer("window of G", panel=2, **STEPS[0], **FORMS[form])
    for norm in filter(None, (layer.norm, layer.reduce_norm)):
        norm.reset_running_stats()
        norm.momentum = None
    twin = with_plan(layer, "reference")
    for seed in range(3):
        (x,) = random_tensors((2, 8, 4, 4), seed=seed)
        torch.testing.assert_close(layer(x), twin(x), rtol=1e-9, atol=1e-9)
    assert_same(dict(layer.named_buffers()), dict(twin.named_buffers()), tolerance=1e-9, case=form)
    assert int(layer.norm.num_batches_tracked) == 3


@pytest.mark.parametrize("form", FORMS)
def test_one_image_in_evaluation(form: str) -> None:
    for kind in SIZES:
        layer = make_layer(kind, mode="eval", **STEPS[0], **FORMS[form])
        check_plan(layer, *inputs_of(layer, (1, 1, 1), with_shortcut=True, channels_last=False), case=kind)


def test_no_image_in_evaluation() -> None:
    for kind in SIZES:
        layer = make_layer(kind, mode="eval", **STEPS[0])
        check_plan(layer, *inputs_of(layer, (0, 4, 4), with_shortcut=True, channels_last=False), case=kind)


@pytest.mark.parametrize("plan", ["reference", "blocked"])
def test_one_value_a_channel_has_no_variance_to_train_with(plan: str) -> None:
    layer = make_layer("window of G", plan=plan, **STEPS[0])
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        layer(torch.ones(1, 8, 1, 1, dtype=torch.float64))
    assert layer.norm is not None
    assert layer.norm.running_var.isfinite().all()


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize("form", FORMS)
def test_the_format_of_the_input_stays(form: str, channels_last: bool) -> None:
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    for kind in ("window of G", "explicit", "group", "dense, one step"):
        for step in STEPS:
            layer = make_layer(kind, **step, **FORMS[form])
            inputs = inputs_of(layer, (2, 4, 5), with_shortcut=True, channels_last=channels_last)
            found = results(layer, *inputs)
            for name in ("raw", "act", "gradient of x", "gradient of shortcut"):
                assert found[name].is_contiguous(memory_format=memory_format), (kind, step, name)
            assert layer(*inputs).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
def test_frozen_weights_and_inputs_get_no_gradient(form: str, channels_last: bool) -> None:
    """The others get the same as ever."""
    layer = make_layer("window of G", bias=True, **{**STEPS[0], **FORMS[form]})
    inputs = inputs_of(layer, (2, 4, 5), with_shortcut=True, channels_last=channels_last)
    expected = results(layer, *inputs)
    for frozen in [name for name, _ in layer.named_parameters()]:
        twin = copy.deepcopy(layer).train()
        twin.zero_grad()
        twin.get_parameter(frozen).requires_grad_(False)
        streams = twin.streams(*inputs)
        given = random_tensors(streams.raw.shape, streams.act.shape, seed=7)
        torch.autograd.backward(streams, given)
        for name, parameter in twin.named_parameters():
            if name == frozen:
                assert parameter.grad is None
            else:
                torch.testing.assert_close(parameter.grad, expected[f"gradient of {name}"], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_it_can_go_back_twice_where_the_graph_is_kept(form: str) -> None:
    for step in STEPS:
        layer = make_layer("window of G", panel=3, **step, **FORMS[form])
        x, shortcut = (t.requires_grad_() for t in inputs_of(layer, (2, 4, 5), with_shortcut=True, channels_last=True))
        streams = layer.streams(x, shortcut)
        total = streams.raw.square().sum() + streams.act.sum()
        leaves = [x, shortcut, *layer.parameters()]
        first = torch.autograd.grad(total, leaves, retain_graph=True)
        second = torch.autograd.grad(total, leaves)
        assert all(map(torch.equal, first, second))
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            torch.autograd.grad(total, leaves)


@pytest.mark.parametrize("form", FORMS)
def test_it_refuses_to_go_back_with_weights_that_have_changed(form: str) -> None:
    """As autograd's own functions do: with the changed ones the gradients would be wrong."""
    layer = make_layer("window of G", **STEPS[0], **FORMS[form])
    (x,) = inputs_of(layer, (2, 4, 4), with_shortcut=False, channels_last=False)
    for parameter in layer.parameters():
        output = layer(x)
        with torch.no_grad():
            parameter.mul_(1.5)
        with pytest.raises(RuntimeError, match="has been modified by an inplace operation"):
            output.sum().backward()


def kept_bytes(layer: SeqConv2d, *inputs: Tensor) -> int:
    """Of distinct storages that autograd saves, parameters and running statistics apart."""
    own = {t.untyped_storage().data_ptr() for t in (*layer.parameters(), *layer.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = layer(*inputs)
    assert output.requires_grad is torch.is_grad_enabled()
    return sum(kept.values())


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "channels_last"])
@pytest.mark.parametrize(("form", "inputs_worth"), [("plain", 2), ("bottleneck", 3), ("subgroups", 3)])
def test_what_is_kept_for_the_backward_pass(form: str, inputs_worth: int, channels_last: bool) -> None:
    """The input, and the values before each norm; whatever the pattern, in units of the input."""
    for pattern in ("1G", "dense", "regular", "log"):
        fields: dict[str, Any] = {
            "pattern": pattern,
            "norm": True,
            "activation": True,
            "plan": "blocked",
            **FORMS[form],
        }
        layer = SeqConv2d(64, 64, group_width=8, **fields)
        x, shortcut = (
            t.float().requires_grad_()
            for t in inputs_of(layer, (8, 16, 16), with_shortcut=True, channels_last=channels_last)
        )
        unit = x.untyped_storage().nbytes()
        blocked, reference = (kept_bytes(one, x) / unit for one in (layer, with_plan(layer, "reference")))
        assert inputs_worth <= blocked <= inputs_worth + 0.01
        assert blocked < 0.51 * reference
        assert kept_bytes(layer, x, shortcut) / unit == blocked, "a shortcut is only added"
        for off in (torch.no_grad, torch.inference_mode):
            with off():
                assert kept_bytes(layer, x) == 0


def test_a_layer_that_only_convolves_keeps_its_input_and_its_output() -> None:
    layer = SeqConv2d(64, 64, group_width=8, plan="blocked")
    x = torch.rand(4, 64, 8, 8, requires_grad=True)
    assert kept_bytes(layer, x) == 2 * x.untyped_storage().nbytes()


def test_nothing_outlives_the_output() -> None:
    """No cycle keeps a batch alive until the collector runs."""
    layer = make_layer("window of G", **STEPS[0])
    x = torch.rand(2, 8, 4, 4, dtype=torch.float64)
    gc.disable()
    try:
        alive = weakref.ref(x)
        output = layer(x)
        x = x.new_empty(0)
        assert alive() is not None
        output.sum().backward()
        del output
        assert alive() is None
    finally:
        gc.enable()
