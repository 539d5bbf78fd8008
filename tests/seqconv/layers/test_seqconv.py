"""The layer against Eq. 2 and Eq. 3 as written, group by group, and against its closed forms."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from seqconv.aggregation import DENSE, Window
from seqconv.layers.reference import reference_forward
from seqconv.layers.seqconv import BottleneckStep, PlainStep, SeqConv2d

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"form": "plain"},
    "bottleneck": {"form": "bottleneck"},
    "subgroups": {"form": "bottleneck", "subgroups": 2},
}
SIZES = [  # k, G, g, w
    (2, 1, 1, 1),
    (2, 4, 4, 1),
    (2, 4, 4, 2),
    (4, 4, 4, 4),
    (2, 4, 4, 6),
    (2, 4, 4, 7),
    (2, 4, 4, None),
    (2, 3, 6, 2),
    (2, 6, 3, 5),
    (4, 2, 5, None),
    (6, 1, 4, 3),
]


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and running statistic away from 0 and 1, so that nothing cancels or is skipped."""
    generator = torch.Generator().manual_seed(seed)
    tensors = itertools.chain(module.parameters(), (b for b in module.buffers() if b.is_floating_point()))
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) - 0.4)
        for name, buffer in module.named_buffers():
            if name.endswith("running_var"):
                buffer.abs_().add_(0.5)
    return module


def make_layer(k: int, in_groups: int, out_groups: int, width: int | None, **form: Any) -> SeqConv2d:
    window = DENSE if width is None else Window(groups=width)
    layer = SeqConv2d(k * in_groups, k * out_groups, group_width=k, window=window, **form)
    randomised(layer)
    return layer


def random_tensors(*shapes: tuple[int, ...], dtype: torch.dtype) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for shape in shapes:
        yield torch.randn(shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("k", "in_groups", "out_groups", "width"), SIZES)
@pytest.mark.parametrize("with_shortcut", [False, True], ids=["alone", "shortcut"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)], ids=["f64", "f32"])
def test_layer_is_the_equation(
    form: str,
    k: int,
    in_groups: int,
    out_groups: int,
    width: int | None,
    with_shortcut: bool,
    training: bool,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    layer = make_layer(k, in_groups, out_groups, width, **FORMS[form]).to(dtype).train(training)
    twin = copy.deepcopy(layer)
    shape_in, shape_out = (3, k * in_groups, 5, 4), (3, k * out_groups, 5, 4)
    act, shortcut, d_raw, d_act = random_tensors(shape_in, shape_out, shape_out, shape_out, dtype=dtype)

    def results(forward: Any, model: nn.Module) -> dict[str, Tensor]:
        inputs = {"act": act.clone().requires_grad_()}
        if with_shortcut:
            inputs["shortcut"] = shortcut.clone().requires_grad_()
        raw, activated = forward(*inputs.values())
        ((raw * d_raw).sum() + (activated * d_act).sum()).backward()
        tensors = {"raw": raw, "activated": activated, **dict(model.named_buffers())}
        leaves = {**inputs, **dict(model.named_parameters())}
        gradients = {f"gradient of {name}": leaf.grad for name, leaf in leaves.items()}
        assert all(gradient is not None for gradient in gradients.values())
        return {**tensors, **gradients}

    found = results(layer, layer)
    expected = results(lambda *inputs: reference_forward(twin, *inputs, width=width), twin)
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("width", [1, 3, None])
def test_channels_last_gives_the_same(form: str, width: int | None) -> None:
    layer = make_layer(4, 3, 4, width, **FORMS[form]).double().eval()
    act, shortcut = random_tensors((2, 12, 6, 6), (2, 16, 6, 6), dtype=torch.float64)
    expected = layer(act, shortcut)
    layer.to(memory_format=torch.channels_last)
    found = layer(act.to(memory_format=torch.channels_last), shortcut.to(memory_format=torch.channels_last))
    for one, other in zip(found, expected, strict=True):
        assert one.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def batch_norm(x_NCHW: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    mean, var, weight, bias = (
        t[None, :, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x_NCHW - mean) / (var + 1e-5).sqrt() * weight + bias


def test_a_plain_step_is_its_formula() -> None:
    step = PlainStep(6, 4, subgroups=1, zero_init=False).double().eval()
    randomised(step)
    sources, shortcut = random_tensors((2, 6, 5, 5), (2, 4, 5, 5), dtype=torch.float64)
    raw, act = step(sources, shortcut)
    expected = F.conv2d(sources, step.conv.weight, padding=1) + shortcut
    torch.testing.assert_close(raw, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(act, batch_norm(expected, step.norm).clamp(min=0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("subgroups", [1, 2, 4])
def test_a_bottleneck_step_is_its_formula(subgroups: int) -> None:
    step = BottleneckStep(6, 4, subgroups=subgroups, zero_init=False).double().eval()
    randomised(step)
    sources, shortcut = random_tensors((2, 6, 5, 5), (2, 4, 5, 5), dtype=torch.float64)
    raw, act = step(sources, shortcut)
    reduced = batch_norm(torch.einsum("nchw,kc->nkhw", sources, step.reduce.weight[:, :, 0, 0]), step.reduce_norm)
    pieces = zip(reduced.clamp(min=0).chunk(subgroups, 1), step.conv.weight.chunk(subgroups, 0), strict=True)
    expected = torch.cat([F.conv2d(piece, weight, padding=1) for piece, weight in pieces], dim=1) + shortcut
    torch.testing.assert_close(raw, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(act, batch_norm(expected, step.norm).clamp(min=0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("in_channels", [16, 13])
def test_one_group_is_a_regular_convolution(in_channels: int) -> None:
    """Eq. 1: with one step, all there is to read is the input."""
    layer = SeqConv2d(in_channels, 8, group_width=8).double()
    conv = nn.Conv2d(in_channels, 8, 3, padding=1, bias=False, dtype=torch.float64)
    conv.weight = layer.steps[0].conv.weight  # type: ignore[assignment, union-attr]
    (image,) = random_tensors((2, in_channels, 6, 6), dtype=torch.float64)
    raw, act = layer(image)
    torch.testing.assert_close(raw, conv(image), rtol=0, atol=1e-10)
    torch.testing.assert_close(act, torch.relu(nn.BatchNorm2d(8, dtype=torch.float64)(conv(image))), rtol=0, atol=1e-10)


def step_inputs(layer: SeqConv2d, act: Tensor) -> tuple[list[Tensor], Tensor]:
    """What each step was given, and the activated output."""
    seen: list[Tensor] = []
    hooks = [step.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for step in layer.steps]
    _, output = layer(act)
    for hook in hooks:
        hook.remove()
    return seen, output


def test_a_dense_layer_reads_an_input_of_no_whole_groups_as_one_piece() -> None:
    layer = SeqConv2d(10, 12, group_width=4).double().eval()
    randomised(layer)
    (act,) = random_tensors((2, 10, 5, 5), dtype=torch.float64)
    seen, output = step_inputs(layer, act)
    for i, sources in enumerate(seen):
        assert torch.equal(sources, torch.cat([act, output[:, : 4 * i]], dim=1))


def test_dropout_draws_a_fresh_mask_in_each_step() -> None:
    torch.manual_seed(0)
    layer = make_layer(4, 8, 4, 3, dropout=0.5).train()
    act = torch.ones(2, 32, 4, 4)
    seen, _ = step_inputs(layer, act)
    newest_input = [seen[0][:, 8:], seen[1][:, 4:8], seen[2][:, :4]]
    for sources in newest_input:
        assert set(sources.unique().tolist()) == {0.0, 2.0}
        assert torch.equal(sources, sources[:, :, :1, :1].expand_as(sources)), "a channel is dropped as a whole"
    for one, other in itertools.combinations(newest_input, 2):
        assert not torch.equal(one, other)


def test_dropout_is_off_in_evaluation() -> None:
    layer = make_layer(4, 4, 4, 3, dropout=0.5).eval()
    (act,) = random_tensors((2, 16, 4, 4), dtype=torch.float32)
    expected = reference_forward(layer, act, width=3)
    for one, other in zip(layer(act), expected, strict=True):
        torch.testing.assert_close(one, other)


@given(
    k=st.sampled_from([1, 2, 4]),
    in_groups=st.integers(1, 9),
    out_groups=st.integers(1, 9),
    width=st.integers(1, 20),
    form=st.sampled_from(["plain", "bottleneck"]),
    subgroups=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=60)
def test_parameters_in_closed_form(
    k: int, in_groups: int, out_groups: int, width: int, form: str, subgroups: int
) -> None:
    subgroups = 1 if form == "plain" else min(k, subgroups)
    with torch.device("meta"):
        layer = SeqConv2d(
            k * in_groups, k * out_groups, group_width=k, window=Window(groups=width), form=form, subgroups=subgroups
        )
    c_out = k * out_groups
    pairs = sum(min(width, in_groups + i - 1) for i in range(1, out_groups + 1))
    plain = 9 * k**2 * pairs + 2 * c_out
    bottleneck = k**2 * pairs + 9 * k * c_out // subgroups + 4 * c_out
    assert count_parameters(layer) == (plain if form == "plain" else bottleneck)
    assert layer.serial_depth == out_groups * (1 if form == "plain" else 2)
    assert layer.unread_groups == max(0, in_groups - width)


@pytest.mark.parametrize(("c_in", "c_out", "k", "subgroups"), [(64, 64, 8, 4), (32, 64, 16, 2), (64, 32, 8, 8)])
def test_parameters_where_the_window_is_the_input_width(c_in: int, c_out: int, k: int, subgroups: int) -> None:
    """Every step reads G groups, so a plain layer costs what a regular convolution and its batch norm cost."""
    sizes: dict[str, Any] = {"group_width": k, "window": Window(ratio=1.0)}
    plain = SeqConv2d(c_in, c_out, **sizes)
    assert count_parameters(plain) == 9 * c_in * c_out + 2 * c_out
    bottleneck = SeqConv2d(c_in, c_out, form="bottleneck", **sizes)
    assert count_parameters(bottleneck) == c_in * c_out + 9 * k * c_out + 4 * c_out
    resnext = SeqConv2d(c_in, c_out, form="bottleneck", subgroups=subgroups, **sizes)
    assert count_parameters(resnext) == c_in * c_out + 9 * k * c_out // subgroups + 4 * c_out


@pytest.mark.parametrize(("c_in", "c_out", "k"), [(64, 64, 8), (16, 128, 8), (3, 32, 16), (16, 64, 32)])
def test_parameters_of_a_dense_layer(c_in: int, c_out: int, k: int) -> None:
    g = c_out // k
    expected = 9 * c_in * c_out + 9 * k**2 * g * (g - 1) // 2 + 2 * c_out
    assert count_parameters(SeqConv2d(c_in, c_out, group_width=k)) == expected


@pytest.mark.parametrize(
    ("width", "params"),
    [(1, 4736), (2, 9344), (4, 18560), (6, 27776), (8, 36992), (12, 49664), (15, 53120), (99, 53120)],
)
def test_parameters_of_eight_groups_of_eight(width: int, params: int) -> None:
    assert count_parameters(SeqConv2d(64, 64, group_width=8, window=Window(groups=width))) == params


def count_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_held_per_step() -> None:
    layer = SeqConv2d(8, 8, group_width=4, form="bottleneck")
    tensors = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    expected = {
        f"steps.{step}.{name}"
        for step in (0, 1)
        for name in [
            "reduce.weight",
            "conv.weight",
            *(f"{norm}.{t}" for norm in ("reduce_norm", "norm") for t in tensors),
        ]
    }
    assert set(layer.state_dict()) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"form": "B"}, "form must be one of plain, bottleneck, got 'B'"),
        ({"out_channels": 20}, "out_channels must be a multiple of group_width 8, got 20"),
        ({"in_channels": 20, "window": Window(groups=2)}, "in_channels must be a multiple of group_width 8, got 20"),
        ({"in_channels": 0}, "in_channels must be an integer at least 1, got 0"),
        ({"group_width": 0}, "group_width must be an integer at least 1, got 0"),
        ({"subgroups": 2}, "subgroups above 1 need form bottleneck, got 2"),
    ],
)
def test_layer_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        SeqConv2d(**{"in_channels": 16, "out_channels": 16, "group_width": 8, **fields})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("act", "shortcut", "message"),
    [
        ((2, 24, 4, 4), None, "input must be (N, 16, H, W), got shape (2, 24, 4, 4)"),
        ((16, 4, 4), None, "input must be (N, 16, H, W), got shape (16, 4, 4)"),
        ((2, 16, 4, 4), (2, 16, 4, 4), "shortcut must be (N, 8, H, W), got shape (2, 16, 4, 4)"),
    ],
)
def test_forward_refuses(act: tuple[int, ...], shortcut: tuple[int, ...] | None, message: str) -> None:
    layer = SeqConv2d(16, 8, group_width=8)
    with pytest.raises(ValueError) as error:
        layer(torch.zeros(act), None if shortcut is None else torch.zeros(shortcut))
    assert str(error.value) == message


def test_repr_says_the_window() -> None:
    assert "16, 8, group_width=4, window=3" in repr(SeqConv2d(16, 8, group_width=4, window=Window(groups=3)))
    assert "window=dense" in repr(SeqConv2d(16, 8, group_width=4, window=Window(groups=30)))
