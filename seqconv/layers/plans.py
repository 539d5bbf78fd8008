"""Which plan computes a call of a layer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from seqconv.layers import native
from seqconv.layers.operation import Operation, Parameters, convolved_type, is_traced

PLANS = ("auto", "reference", "blocked", "native")


def chosen(plan: str, op: Operation, parameters: Parameters, x_NCHW: Tensor, shortcut_NCHW: Tensor | None) -> str:
    """One of `PLANS` other than auto: of auto the fastest that can compute this.

    Raises:
        ValueError: `plan` itself cannot, with the reason; or tensors of another shape than the layer's.
    """
    tensors = parameters.checked(op)
    # The backward pass of torch's batch norm divides by the number of images.
    if plan == "reference" or (not is_traced() and x_NCHW.numel() == 0):
        return "reference"
    stepwise = _stepwise(x_NCHW, shortcut_NCHW)
    for fast in ("native", "blocked"):
        if plan in ("auto", fast):
            reason = stepwise
            if reason is None and fast == "native":
                reason = native.refusal(op, tensors, x_NCHW, shortcut_NCHW)
            if reason is None:
                return fast
            if plan == fast and not x_NCHW.is_meta:
                raise ValueError(f"plan {plan} cannot compute this: {reason}; take auto")
    return "reference"


def _stepwise(x_NCHW: Tensor, shortcut_NCHW: Tensor | None) -> str | None:
    """Why only torch's own functions, one by one, can compute this."""
    if shortcut_NCHW is not None and shortcut_NCHW.dtype != convolved_type(x_NCHW):
        return f"a {shortcut_NCHW.dtype} shortcut is added to {convolved_type(x_NCHW)}"
    if torch.compiler.is_compiling():
        return None
    if is_traced():
        return "torch.jit traces it"
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "torch.func or forward-mode automatic differentiation transforms it"
    return None
