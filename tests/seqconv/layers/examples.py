"""Small layers with a pattern of every kind, and everything that one pass through a layer gives."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seqconv.layers.seqconv import SeqConv2d
from seqconv.layers.streams import Streams

SIZES: dict[str, tuple[Any, int, int]] = {
    "dense": ("dense", 4, 5),
    "dense, one step": ("dense", 3, 1),
    "window of one group": (1, 4, 5),
    "window below G": (2, 5, 6),
    "window of G": ("1G", 4, 6),
    "window above G": (5, 3, 7),
    "dilated": ("dilated(2, 2)", 4, 6),
    "log": ("log", 5, 7),
    "harmonic": ("harmonic", 3, 9),
    "regular": ("regular", 4, 5),
    "group": ("group", 4, 4),
    "group of more inputs": ("group", 7, 4),
    "split": ("split", 4, 6),
    "shuffle": ("shuffle(2)", 4, 4),
    "random": ("random(3, 0.4)", 4, 9),
    "explicit": ([[-2], [-3, 1], [-2], [2, 3], [-3, 0, 1, 4], [1]], 5, 6),
}
"""Kind to (pattern, G, g)."""

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"form": "plain"},
    "bottleneck": {"form": "bottleneck"},
    "subgroups": {"form": "bottleneck", "groups": 2},
}
STEPS: list[dict[str, Any]] = [
    {"norm": True, "activation": True},
    {"norm": True, "activation": False},
    {"norm": False, "activation": True, "bias": True},
    {"norm": False, "activation": False, "bias": True},
    {"norm": False, "activation": False, "bias": False},
    {"norm": True, "activation": True, "bias": True},
]
GEOMETRIES: list[dict[str, Any]] = [
    {},
    {"kernel_size": 1},
    {"kernel_size": 5, "padding": 2},
    {"kernel_size": (3, 1), "padding": (1, 0)},
    {"kernel_size": 3, "dilation": 2},
]
MODES = ("train", "eval", "frozen")
"""Of a layer; frozen trains with batch norms in evaluation."""


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and running statistic away from 0 and 1, so that nothing cancels or is skipped."""
    generator = torch.Generator().manual_seed(seed)
    tensors = itertools.chain(module.parameters(), (b for b in module.buffers() if b.is_floating_point()))
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.4)
        for name, buffer in module.named_buffers():
            if name.endswith("running_var"):
                buffer.abs_().add_(0.5)
    return module


def make_layer(kind: str, *, group_width: int = 2, mode: str = "train", missing: int = 0, **fields: Any) -> SeqConv2d:
    """A float64 layer with weights that are all different.

    Args:
        kind: a key of `SIZES`.
        group_width: k.
        mode: one of `MODES`.
        missing: channels that the oldest input group lacks.
        fields: of the layer.
    """
    pattern, in_groups, out_groups = SIZES[kind]
    channels = group_width * in_groups - missing, group_width * out_groups
    layer = SeqConv2d(*channels, group_width=group_width, pattern=pattern, **fields).double()
    randomised(layer)
    return set_mode(layer, mode)


def set_mode(layer: SeqConv2d, mode: str) -> SeqConv2d:
    layer.train(mode != "eval")
    for module in layer.modules():
        if mode == "frozen" and isinstance(module, nn.BatchNorm2d):
            module.eval()
    return layer


def with_plan(layer: SeqConv2d, plan: str) -> SeqConv2d:
    """A copy with the same weights and statistics that computes with another plan."""
    twin = copy.deepcopy(layer)
    twin.plan = plan
    return twin


def random_tensors(*shapes: tuple[int, ...], seed: int = 1, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def results(
    layer: SeqConv2d,
    x_NCHW: Tensor,
    shortcut_NCHW: Tensor | None = None,
    *,
    used: str = "both",
    whole: bool = False,
    computed_by: Callable[..., Streams] | None = None,
) -> dict[str, Tensor]:
    """Both streams, all gradients (of the inputs too) and all buffers after one pass forward and back.

    Args:
        layer: its gradients are cleared first.
        x_NCHW: the input.
        shortcut_NCHW: the shortcut.
        used: the streams that the gradients come from: "raw", "act", "both", or "forward" for what `forward` returns.
        whole: the gradients that are given are whole numbers.
        computed_by: takes the layer and its inputs, and stands in for the layer's own computation.
    """
    layer.zero_grad()
    inputs = {"x": x_NCHW, "shortcut": shortcut_NCHW}
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in inputs.items() if tensor is not None}
    if used == "forward":
        streams = {"forward": layer(*leaves.values())}
    elif computed_by is None:
        streams = layer.streams(*leaves.values())._asdict()
    else:
        streams = computed_by(layer, *leaves.values())._asdict()
    chosen = list(streams) if used == "both" else [used]
    given = random_tensors(*[tuple(streams[name].shape) for name in chosen], seed=7, dtype=x_NCHW.dtype)
    given = [d.round() if whole else d for d in given]
    total = torch.stack([(streams[name] * d).sum() for name, d in zip(chosen, given, strict=True)]).sum()
    total.backward()
    leaves |= dict(layer.named_parameters())
    gradients = {f"gradient of {n}": torch.zeros_like(t) if t.grad is None else t.grad for n, t in leaves.items()}
    return {**streams, **gradients, **{name: buffer.clone() for name, buffer in layer.named_buffers()}}


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, tolerance: float, case: Any) -> None:
    """The same names with the same values; where they differ, says where and for which case."""
    assert found.keys() == expected.keys(), case
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n} of {case}: {m}"
        )


def error(found: Tensor, exact: Tensor) -> float:
    """Of the whole tensor, relative to its size."""
    found, exact = found.detach().double(), exact.detach().double()
    return float((found - exact).norm() / exact.norm())


def inputs_of(
    layer: SeqConv2d, size: tuple[int, int, int], *, with_shortcut: bool, channels_last: bool, stride: int = 1
) -> list[Tensor]:
    """An input of a layer for (N, H, W), and where asked for a shortcut."""
    images, height, width = size
    shapes = [(images, layer.in_channels, height, width)]
    if with_shortcut:
        shapes += [(images, layer.out_channels, -(-height // stride), -(-width // stride))]
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return [tensor.to(memory_format=memory_format) for tensor in random_tensors(*shapes)]
