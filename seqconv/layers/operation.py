"""What a layer computes, as plain data that every plan reads, and the tensors it computes with."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from seqconv.layers.packing import Layout
from seqconv.layers.schedule import Panel
from seqconv.layers.step_norm import VECTORS, StepNorm


class Convolution(NamedTuple):
    """The geometry of a convolution, and its two directions."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def forward(self, x_NCHW: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `F.conv2d`."""
        return F.conv2d(x_NCHW, weight, bias, *self)

    def backward(self, d_NCHW: Tensor, x_NCHW: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients with respect to x and the weight."""
        d_x, d_weight, _ = self._backward(d_NCHW, x_NCHW, weight, (True, True, False))
        return d_x, d_weight

    def weight_gradient(self, d_NCHW: Tensor, x_NCHW: Tensor, weight: Tensor) -> Tensor:
        """The second of `backward` alone."""
        return self._backward(d_NCHW, x_NCHW, weight, (False, True, False))[1]

    def _backward(self, d: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]) -> tuple[Tensor, ...]:
        geometry = (self.stride, self.padding, self.dilation, False, (0, 0), self.groups)
        gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(d, x, weight, None, *geometry, wanted)
        return gradients


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A layer without its tensors."""

    layout: Layout
    panels: tuple[Panel, ...]
    """In which order the blocked plan computes the steps."""
    convolution: Convolution
    """Each step's own convolution: of all its sources in form plain, of its k reduced channels in a bottleneck."""
    kernel_size: tuple[int, int]
    """Height and width of that convolution."""
    bottleneck: bool
    activation: bool

    @property
    def aggregation(self) -> Convolution:
        """The convolution that reads the sources."""
        return Convolution() if self.bottleneck else self.convolution

    @functools.cached_property
    def weight_shapes(self) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
        """Shapes of `reduce_weight`, which form plain has none of, and of `weight` (see `seqconv.layers.packing`)."""
        layout = self.layout
        packed = layout.group_width, layout.packed
        if not self.bottleneck:
            return None, (*packed, *self.kernel_size)
        own = layout.out_channels, layout.group_width // self.convolution.groups
        return (*packed, 1, 1), (*own, *self.kernel_size)


class Parameters(NamedTuple):
    """The tensors of a layer, and its norms as they are in this call."""

    reduce_weight: Tensor | None
    weight: Tensor
    bias: Tensor | None
    reduce_norm: StepNorm | None
    norm: StepNorm | None

    def checked(self, op: Operation) -> list[Tensor]:
        """All tensors. Every plan relies on their shapes: it slices them, or reads as much as the layer had.

        Raises:
            ValueError: a tensor that was put in the place of the layer's own and has another shape.
        """
        vector, (reduce_shape, shape) = (op.layout.out_channels,), op.weight_shapes
        found: list[tuple[str, tuple[int, ...] | None, Tensor | None]] = [
            ("reduce_weight", reduce_shape, self.reduce_weight),
            ("weight", shape, self.weight),
            ("bias", vector, self.bias),
        ]
        for name, norm in (("reduce_norm", self.reduce_norm), ("norm", self.norm)):
            if norm is not None:
                found += [(f"{name}.{field}", vector, getattr(norm, field)) for field in VECTORS]
        if not is_traced():
            for name, made, tensor in found:
                if tensor is not None and tensor.shape != made:
                    raise ValueError(f"{name} must have the shape {made} it was made with, got {tuple(tensor.shape)}")
        return [tensor for _, _, tensor in found if tensor is not None]


def convolved_type(tensor: Tensor) -> torch.dtype:
    """The dtype that a tensor has in a convolution, and what is made of it: autocast's, which leaves float64 alone."""
    device = tensor.device.type
    casts = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if casts and tensor.dtype != torch.float64 else tensor.dtype


def is_traced() -> bool:
    """By `torch.jit.trace`, where sizes are tensors, and comparing them warns that the trace will not."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
