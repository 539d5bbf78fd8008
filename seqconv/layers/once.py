"""The backward pass of a plan whose gradients cannot be differentiated again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

TWICE = "this plan of SeqConv2d cannot be differentiated twice: take plan='reference'"
FORWARD = "the backward pass of this plan of SeqConv2d has no forward-mode derivative: take plan='reference'"

Gradients = tuple[Tensor | None, ...]


def anchor(tensor: Tensor | None) -> Tensor | None:
    """Nothing, with the graph of a tensor: to be saved where its values are not needed, see `differentiable_once`."""
    if tensor is None or not (tensor.requires_grad and torch.is_grad_enabled()):
        return None
    return tensor[:0].clone()


def differentiable_once(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """As `torch.autograd.function.once_differentiable`, which only notices a second derivative if the gradients that
    come in have a graph: behind a sum or a mean they have none, and what is made of them would count as constant.

    Here it is noticed on the way to anything that comes in or that the function saved.

    Args:
        backward: of (ctx, the saved tensors, the gradients that come in).

    Raises:
        RuntimeError: where a gradient that is returned is differentiated again; or one comes in with a tangent.
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *d: Tensor | None) -> Gradients:
        saved = ctx.saved_tensors  # Once: a checkpoint makes them afresh, and only one time.
        if forward_ad._current_level >= 0 and any(_tangent(tensor) is not None for tensor in d):
            raise RuntimeError(FORWARD)
        with torch.no_grad():
            gradients = backward(ctx, saved, *d)
        if not torch.is_grad_enabled():
            return gradients
        made_of = [tensor for tensor in (*d, *saved) if tensor is not None and tensor.requires_grad]
        final: Gradients = _Final.apply(len(gradients), *gradients, *made_of)
        return final

    return wrapped


def _tangent(tensor: Tensor | None) -> Any:
    return None if tensor is None else forward_ad.unpack_dual(tensor).tangent  # type: ignore[no-untyped-call]


class _Final(Function):
    """(count, that many gradients, what they are made of) to the gradients, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor | None) -> Gradients:
        gradients = tensors[:count]
        ctx.mark_dirty(*(gradient for gradient in gradients if gradient is not None))
        return gradients

    @staticmethod
    def backward(ctx: Any, *d: Tensor) -> Any:
        raise RuntimeError(TWICE)
