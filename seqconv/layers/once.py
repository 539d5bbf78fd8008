"""The backward pass of a plan whose gradients cannot be differentiated again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

TWICE = "only plan='reference' of SeqConv2d can be differentiated twice"

Backward = Callable[..., tuple[Tensor | None, ...]]


def anchor(tensor: Tensor | None) -> Tensor | None:
    """Nothing, with the graph of a tensor: to be saved where its values are not needed, see `differentiable_once`."""
    needed = tensor is not None and tensor.requires_grad and torch.is_grad_enabled()
    return tensor[:0].clone() if tensor is not None and needed and not torch.compiler.is_compiling() else None


def differentiable_once(backward: Backward) -> Backward:
    """As `torch.autograd.function.once_differentiable`, which only notices a second derivative if the gradients that
    come in have a graph: behind a sum or a mean they have none, and what is made of them would count as constant.

    Here it is noticed on the way to anything that comes in or that the function saved.

    Raises:
        RuntimeError: from what is returned, where a gradient is differentiated again.
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *d: Tensor | None) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            gradients = backward(ctx, *d)
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return gradients
        made_of = [tensor for tensor in (*d, *ctx.saved_tensors) if tensor is not None and tensor.requires_grad]
        final: tuple[Tensor | None, ...] = _Final.apply(len(gradients), *gradients, *made_of)
        return final

    return wrapped


class _Final(Function):
    """(count, that many gradients, what they are made of) to the gradients, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        return tuple(None if tensor is None else tensor.view_as(tensor) for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *d: Tensor) -> Any:
        raise RuntimeError(TWICE)
