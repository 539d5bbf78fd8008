"""The reference plan against a still more literal expression: one convolution for every pair of a step and a source."""

import copy
import functools
import itertools
import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqconv.aggregation import parse_pattern
from seqconv.layers.seqconv import SeqConv2d
from seqconv.layers.streams import Streams
from tests.seqconv.layers.examples import (
    FORMS,
    GEOMETRIES,
    MODES,
    SIZES,
    STEPS,
    assert_same,
    inputs_of,
    make_layer,
    random_tensors,
    results,
)


def literal(
    layer: SeqConv2d, x_NCHW: Tensor, shortcut_NCHW: Tensor | None = None, *, kind: str, k: int, groups: int
) -> Streams:
    """Eq. 2 and 3, with nothing of the layer but its parameters, buffers, norm and activation, and dilation."""
    pattern, in_groups, out_groups = SIZES[kind]
    rows = parse_pattern(pattern).adjacency(in_groups, out_groups).sources
    momenta = {norm: counted(norm) for norm in (layer.norm, layer.reduce_norm) if norm is not None}

    def activated(r: Tensor, norm: nn.BatchNorm2d | None, i: int) -> Tensor:
        r = r if norm is None else normalised(r, norm, slice((i - 1) * k, i * k), momenta[norm])
        return r.clamp(min=0) if layer.activation else r

    oldest = x_NCHW.shape[1] - (in_groups - 1) * k
    x = dict(zip(range(1 - in_groups, 1), x_NCHW.split([oldest] + [k] * (in_groups - 1), dim=1), strict=True))
    raw, packed = {}, 0
    for i, row in enumerate(rows, start=1):
        mine, terms = slice((i - 1) * k, i * k), []
        for j in row:
            here = slice(packed, packed + x[j].shape[1])
            packed = here.stop
            if layer.reduce_weight is None:
                terms.append(same_conv(layer, x[j], layer.weight[:, here]))
            else:
                terms.append(torch.einsum("nchw,kc->nkhw", x[j], layer.reduce_weight[:, here, 0, 0]))
        r = torch.stack(terms).sum(0)
        if layer.reduce_weight is not None:
            pieces = zip(
                activated(r, layer.reduce_norm, i).chunk(groups, 1), layer.weight[mine].chunk(groups, 0), strict=True
            )
            r = torch.cat([same_conv(layer, piece, weight) for piece, weight in pieces], dim=1)
        if layer.bias is not None:
            r = r + layer.bias[mine][:, None, None]
        raw[i] = r if shortcut_NCHW is None else r + shortcut_NCHW[:, mine]
        x[i] = activated(raw[i], layer.norm, i)
    assert packed == (layer.weight if layer.reduce_weight is None else layer.reduce_weight).shape[1]
    return Streams(raw=torch.cat(list(raw.values()), 1), act=torch.cat([x[i] for i in raw], 1))


def counted(norm: nn.BatchNorm2d) -> float:
    """The share of this batch in the running statistics."""
    norm.num_batches_tracked += norm.training
    return 1 / max(1, int(norm.num_batches_tracked)) if norm.momentum is None else norm.momentum


def normalised(r: Tensor, norm: nn.BatchNorm2d, mine: slice, momentum: float) -> Tensor:
    """Batch norm by its formula; the running statistics move on."""
    mean, var = norm.running_mean[mine].clone(), norm.running_var[mine].clone()
    if norm.training:
        mean, var = r.mean((0, 2, 3)), r.var((0, 2, 3), unbiased=False)
        new = {"running_mean": mean.detach(), "running_var": r.detach().var((0, 2, 3), unbiased=True)}
        for name, value in new.items():
            getattr(norm, name)[mine] = (1 - momentum) * getattr(norm, name)[mine] + momentum * value
    scale = norm.weight[mine] / (var + norm.eps).sqrt()
    return (r - mean[:, None, None]) * scale[:, None, None] + norm.bias[mine][:, None, None]


def same_conv(layer: SeqConv2d, x_NCHW: Tensor, kernel: Tensor) -> Tensor:
    """Padded by hand, so that height and width stay."""
    (height, width), (down, right) = kernel.shape[2:], layer.dilation
    padding = [right * (width // 2)] * 2 + [down * (height // 2)] * 2
    return F.conv2d(F.pad(x_NCHW, padding), kernel, dilation=(down, right))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SIZES)
def test_it_is_the_equation(kind: str, form: str, mode: str) -> None:
    rng = random.Random(f"{kind} {form} {mode}")
    for step in STEPS:
        geometry, with_shortcut = rng.choice(GEOMETRIES), rng.random() < 0.5
        fields = {**step, **geometry, **FORMS[form]}
        layer = make_layer(kind, mode=mode, plan="reference", **fields)
        inputs = inputs_of(layer, (3, 4, 5), with_shortcut=with_shortcut, channels_last=False)
        expression = functools.partial(literal, kind=kind, k=2, groups=FORMS[form].get("groups", 1))
        expected = results(copy.deepcopy(layer), *inputs, computed_by=expression)
        assert_same(results(layer, *inputs), expected, tolerance=1e-8, case=(fields, with_shortcut))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["dense", "dense, one step", "regular"])
def test_an_oldest_group_that_is_not_whole(kind: str, form: str) -> None:
    layer = make_layer(kind, group_width=4, missing=3, plan="reference", **STEPS[0], **FORMS[form])
    inputs = inputs_of(layer, (2, 4, 5), with_shortcut=True, channels_last=False)
    expression = functools.partial(literal, kind=kind, k=4, groups=FORMS[form].get("groups", 1))
    expected = results(copy.deepcopy(layer), *inputs, computed_by=expression)
    assert_same(results(layer, *inputs), expected, tolerance=1e-8, case=form)


def test_an_average_of_all_batches() -> None:
    """momentum None, over several batches."""
    layer = make_layer("window of G", plan="reference", **STEPS[0], **FORMS["bottleneck"])
    for norm in (layer.norm, layer.reduce_norm):
        assert norm is not None
        norm.reset_running_stats()
        norm.momentum = None
    twin = copy.deepcopy(layer)
    for seed in range(3):
        (x,) = random_tensors((2, 8, 4, 4), seed=seed)
        literal(twin, x, kind="window of G", k=2, groups=1)
        layer(x)
        assert_same(dict(layer.named_buffers()), dict(twin.named_buffers()), tolerance=1e-10, case=seed)
    assert int(layer.norm.num_batches_tracked) == 3


def masks(layer: SeqConv2d, x_NCHW: Tensor) -> Tensor:
    """(N, steps, sources): which input channels reach which step of a 1x1 layer that adds them up as binary digits."""
    digits = 2.0 ** torch.arange(x_NCHW.shape[1], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(digits.repeat(layer.out_groups)[None, :, None, None])
    sums = layer(x_NCHW)
    assert torch.equal(sums, sums[:, :, :1, :1].expand_as(sums)), "a channel is dropped as a whole"
    return (sums[:, :, 0, 0, None] * (1 - layer.dropout)).round().long() >> torch.arange(x_NCHW.shape[1]) & 1


@pytest.mark.parametrize("plan", ["reference", "auto"])
def test_dropout_draws_a_fresh_mask_in_each_step(plan: str) -> None:
    torch.manual_seed(0)
    layer = SeqConv2d(16, 8, 1, group_width=1, pattern="regular", dropout=0.25, plan=plan, dtype=torch.float64)
    kept = masks(layer, torch.ones(50, 16, 2, 3, dtype=torch.float64))
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.02)
    for one, other in itertools.combinations(kept.unbind(1), 2):
        assert (one == other).double().mean().item() == pytest.approx(0.75**2 + 0.25**2, abs=0.06)
    assert kept.double().mean((0, 1)).min() > 0.65, "every channel is dropped now and then"
    assert kept.double().mean((0, 1)).max() < 0.85


def test_dropout_scales_what_it_keeps_and_drops_outputs_too() -> None:
    """Each step after the first copies step 1, or drops it; what is kept doubles."""
    torch.manual_seed(0)
    layer = SeqConv2d(1, 9, 1, group_width=1, pattern=[[0], *[[1]] * 8], dropout=0.5)
    nn.init.ones_(layer.weight)
    first, *others = layer(torch.ones(200, 1, 2, 2))[:, :, 0, 0].unbind(1)
    assert set(first.tolist()) == {0.0, 2.0}
    for copied in others:
        assert not copied[first == 0].any()
        assert set(copied[first == 2].tolist()) == {0.0, 4.0}
        assert (copied[first == 2] == 4).double().mean().item() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("plan", ["reference", "auto"])
def test_nothing_is_dropped_in_evaluation(plan: str) -> None:
    layer = make_layer("dense", mode="eval", plan=plan, dropout=0.5, **STEPS[0])
    (x,) = random_tensors((2, 8, 4, 4))
    expected = literal(layer, x, kind="dense", k=2, groups=1).act
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)
