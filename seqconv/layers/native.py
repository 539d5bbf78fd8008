"""The native plan: a whole layer in C++ (`seqconv.native`), on a CPU, in float32.

Steps are computed one after the other, as they are defined, each for all images: vectors hold pixels there, not
channels, so that few channels run as fast as many. What stays for the backward pass is the input and each step's values
before its norms.

Shape suffixes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from seqconv.layers.columns import dense, empty, format_of
from seqconv.layers.once import anchor, differentiable_once
from seqconv.layers.operation import Operation, Parameters
from seqconv.layers.step_norm import StepNorm
from seqconv.layers.streams import Streams
from seqconv.native import library
from seqconv.native.structures import Layer, Learned, Read, Strides, Tensors

PANELS = {"bottleneck": 8, "plain": 1}
"""Steps that read what is known in one sweep over the images: 1x1 convolutions wait for memory."""
MOST_EMPTY = 2
"""Most places for each image: as many are computed side by side as fill vectors with their rows, there or not."""
HELD_FLOATS = 256 * 2**20
"""Memory to work in that stays with a thread from call to call, 1 GiB; larger ones are given back."""


def refusal(op: Operation, tensors: Iterable[Tensor], x_NCHW: Tensor, shortcut_NCHW: Tensor | None) -> str | None:
    """Why the native plan cannot compute this; None where it can.

    Args:
        op: what to compute.
        tensors: of the layer.
        x_NCHW: the input.
        shortcut_NCHW: added to the raw stream.
    """
    if torch.compiler.is_compiling() or is_in_torch_dispatch_mode():
        return "it is being traced"
    tensors = [x_NCHW, *tensors] if shortcut_NCHW is None else [x_NCHW, shortcut_NCHW, *tensors]
    if any(type(tensor) not in (Tensor, nn.Parameter) or tensor.device.type != "cpu" for tensor in tensors):
        return "it is for tensors in a CPU's memory"
    if any(tensor.dtype != torch.float32 for tensor in tensors) or torch.is_autocast_enabled("cpu"):
        return "it is for float32"
    if op.convolution.stride != (1, 1):
        return "it is for a stride of 1"
    reason = library.unavailable()
    if reason is not None:
        return reason
    places = library.library().seqconv_places(ctypes.byref(_layer(op, x_NCHW)))
    if places > MOST_EMPTY * x_NCHW.shape[0]:
        return f"{x_NCHW.shape[0]} images of {x_NCHW.shape[3]} columns fill too few of {places} places"
    return None


def native_streams(
    op: Operation, parameters: Parameters, x_NCHW: Tensor, shortcut_NCHW: Tensor | None, *, raw: bool
) -> Streams:
    """As `blocked_streams`, up to rounding, where `refusal` has no reason. Differentiable once."""
    *_, reduce_norm, norm = parameters
    call = _Call(op, (reduce_norm, norm), raw=raw and (norm is not None or op.activation))
    act, *others = _Native.apply(call, anchor(shortcut_NCHW), *_tensors(parameters, x_NCHW, shortcut_NCHW))
    return Streams(others[0] if others else act, act)


def _tensors(parameters: Parameters, x: Tensor, shortcut: Tensor | None) -> list[Tensor | None]:
    """What the function takes, dense."""
    reduce_weight, weight, bias, *norms = parameters
    vectors = [bias, *(tensor for norm in norms for tensor in (norm[:2] if norm else (None, None)))]
    return [
        _dense_as(x, x),
        _dense_as(shortcut, x),
        None if reduce_weight is None else dense(reduce_weight.resolve_neg()),
        dense(weight.resolve_neg()),
        *(None if vector is None else vector.resolve_neg().contiguous() for vector in vectors),
    ]


@dataclass(frozen=True)
class _Call:
    """What one call of the function computes with beside its tensors."""

    op: Operation
    norms: tuple[StepNorm | None, StepNorm | None]
    """Behind a bottleneck's 1x1, and at a step's end."""
    raw: bool
    """Whether the raw stream is returned too."""


class _Workspace(threading.local):
    """Fresh memory costs more than much of what is computed in it, so it stays with the thread."""

    held: Tensor | None = None

    def of(self, floats: int) -> Tensor:
        if self.held is None or self.held.numel() < floats:
            self.held = None
            made = torch.empty(floats, dtype=torch.float32, device="cpu")
            self.held = made if floats <= HELD_FLOATS else None
            return made
        return self.held


_workspace = _Workspace()


class _Native(torch.autograd.Function):
    """(call, anchor, x, shortcut, reduce_weight, weight, bias, norms' weights and biases) to act, and raw if asked."""

    @staticmethod
    def forward(ctx: Any, call: _Call, of_shortcut: Tensor | None, *tensors: Any) -> tuple[Tensor, ...]:
        x, shortcut, *parameters = tensors
        op = call.op
        act = empty(x, x.shape[0], op.layout.out_channels, *x.shape[2:])
        raw = torch.empty_like(act) if call.raw else None
        layer = _layer(op, x)
        kept = library.library().seqconv_kept(ctypes.byref(layer))
        before, reduced = x.new_empty(kept), x.new_empty(kept) if op.bottleneck else None
        statistics = [tensor for norm in call.norms for tensor in (norm.statistics() if norm else (None, None))]
        fields = _fields(call, x, parameters, statistics, [None] * 4)
        fields.shortcut, fields.act, fields.raw = _pointer(shortcut), _pointer(act), _pointer(raw)
        fields.before, fields.reduced = _pointer(before), _pointer(reduced)
        _run("forward", layer, fields)
        for norm, mean, variance in zip(call.norms, statistics[::2], statistics[1::2], strict=True):
            if norm is not None and norm.training:
                assert mean is not None and variance is not None
                norm.track(mean, variance, x.numel() // x.shape[1])
        ctx.call = call
        ctx.save_for_backward(x, before, reduced, *statistics, *parameters, of_shortcut)
        ctx.set_materialize_grads(False)
        return (act,) if raw is None else (act, raw)

    @staticmethod
    @differentiable_once
    def backward(
        ctx: Any, saved: tuple[Any, ...], d_act: Tensor | None, d_raw: Tensor | None = None
    ) -> tuple[Any, ...]:
        call: _Call = ctx.call
        x, before, reduced, *rest = saved
        statistics, parameters = rest[:4], rest[4:-1]
        reduce, weight, *vectors = parameters
        _, _, wants_x, wants_shortcut, wants_reduce, wants_weight, *_ = ctx.needs_input_grad
        d_act, d_raw = _dense_as(d_act, x), _dense_as(d_raw, x)
        d_x = torch.empty_like(x) if wants_x else None
        d_shortcut = empty(x, x.shape[0], call.op.layout.out_channels, *x.shape[2:]) if wants_shortcut else None
        d_reduce = torch.empty_like(reduce) if wants_reduce else None
        d_weight = torch.empty_like(weight) if wants_weight else None
        d_bias, *d_learned = (None if tensor is None else torch.empty_like(tensor) for tensor in vectors)
        fields = _fields(call, x, parameters, statistics, d_learned)
        fields.before, fields.reduced = _pointer(before), _pointer(reduced)
        fields.d_act, fields.d_raw, fields.d_x = _pointer(d_act), _pointer(d_raw), _pointer(d_x)
        fields.d_shortcut, fields.d_bias = _pointer(d_shortcut), _pointer(d_bias)
        fields.d_sources, fields.d_own = _pointer(d_weight if reduce is None else d_reduce), _pointer(d_weight)
        _run("backward", _layer(call.op, x), fields)
        return None, None, d_x, d_shortcut, d_reduce, d_weight, d_bias, *d_learned


def _run(which: str, layer: Layer, fields: Tensors) -> None:
    functions, arguments = library.library(), (ctypes.byref(layer), ctypes.byref(fields))
    workspace = _workspace.of(functions.seqconv_workspace(*arguments, which == "backward"))
    getattr(functions, f"seqconv_{which}")(*arguments, workspace.data_ptr())


def _layer(op: Operation, x: Tensor) -> Layer:
    layout, (images, channels, height, width) = op.layout, x.shape
    reads = layout.reads
    layer = Layer(
        images, height, width, channels, layout.out_channels, layout.group_width,
        *op.kernel_size, *op.convolution.dilation, op.convolution.groups,
        op.bottleneck, op.activation, format_of(x) == torch.channels_last,
        PANELS["bottleneck" if op.bottleneck else "plain"], torch.get_num_threads(), len(reads) // 4,
    )  # fmt: skip
    layer.reads = ctypes.cast((Read * layer.read_count).from_buffer(reads), ctypes.POINTER(Read))
    return layer


def _fields(
    call: _Call,
    x: Tensor,
    parameters: Sequence[Any],
    statistics: Sequence[Tensor | None],
    d_learned: Sequence[Tensor | None],
) -> Tensors:
    """What both passes take. Means and variances, weights and biases come for the inner norm first."""
    reduce, weight, bias, *learned = parameters
    sources = weight if reduce is None else reduce
    fields = Tensors(x=_pointer(x), bias=_pointer(bias), sources=_pointer(sources), own=_pointer(weight))
    fields.sources_strides, fields.own_strides = _strides(sources), _strides(weight)
    for place, norm in enumerate(call.norms):
        if norm is not None:
            pair = slice(2 * place, 2 * place + 2)
            tensors = (*learned[pair], *statistics[pair], *d_learned[pair])
            setattr(fields, ("inner", "outer")[place], Learned(*map(_pointer, tensors), norm.training, norm.eps))
    return fields


def _dense_as(tensor: Tensor | None, x: Tensor) -> Tensor | None:
    """Dense, in the memory format of x, with what it reads as."""
    return None if tensor is None else tensor.resolve_neg().contiguous(memory_format=format_of(x))


def _pointer(tensor: Tensor | None) -> int | None:
    """Null stands for a tensor that is not there, so one that is there may not have it."""
    if tensor is None:
        return None
    pointer = tensor.data_ptr()
    assert pointer or not tensor.numel(), "a tensor without memory"
    return pointer


def _strides(weight: Tensor) -> Strides:
    """Contiguous or in channels_last: in both, taps follow one another row by row."""
    return Strides(weight.stride(0), weight.stride(1), weight.stride(3 if weight.shape[3] > 1 else 2))
