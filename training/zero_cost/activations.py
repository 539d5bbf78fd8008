"""Proxies that look at what every ReLU hands on. The model's mode and plans change, its weights do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from training.zero_cost.preparation import step_by_step

_RELU = {torch.relu, torch.relu_, F.relu, Tensor.relu, Tensor.relu_}


def naswot(model: nn.Module, images_NCHW: Tensor) -> float:
    """log |K|, K_ij the number of ReLUs that images i and j agree on, being both on or both off.

    Mellor, Turner, Storkey, Crowley, "Neural Architecture Search without Training", ICML 2021 (arXiv 2006.04647).
    Minus infinity where two images switch the same ReLUs on. Batch norm takes the batch's statistics.
    """
    images = len(images_NCHW)
    kernel = torch.zeros(images, images, dtype=torch.float64, device=images_NCHW.device)

    def count(rectified: Tensor) -> None:
        # Sums of ones are exact in float32 for up to 16 million of them.
        on = (rectified > 0).flatten(1).float()
        off = 1 - on
        kernel.add_(on @ on.T).add_(off @ off.T)

    step_by_step(model)
    with torch.no_grad(), _Rectified(count):
        model.train()(images_NCHW)
    return float(torch.linalg.slogdet(kernel).logabsdet)


def fisher(model: nn.Module, images_NCHW: Tensor, labels: Tensor) -> float:
    """Sum over the channels behind each ReLU of 1/2N sum_n (sum over positions of activation * dL/dactivation)^2.

    Turner, Crowley, O'Boyle, Storkey, Gray, "BlockSwap: Fisher-guided Block Substitution for Network Compression on a
    Budget", ICLR 2020 (arXiv 1906.04113), after Theis et al. (arXiv 1801.05787); summed to a proxy by Abdelfattah et
    al. 2021. The loss is the mean cross entropy; batch norm takes the batch's statistics.
    """
    activations: list[Tensor] = []
    step_by_step(model)
    with _Rectified(activations.append):
        loss = F.cross_entropy(model.train()(images_NCHW), labels)
    gradients = torch.autograd.grad(loss, activations, materialize_grads=True)
    total = 0.0
    for activation, gradient in zip(activations, gradients, strict=True):
        sensitivity_NC = (activation * gradient).flatten(2).sum(2) if activation.dim() > 2 else activation * gradient
        total += sensitivity_NC.double().square().sum().item() / (2 * len(images_NCHW))
    return total


class _Rectified(TorchFunctionMode):
    """Shows every ReLU's output, be the ReLU a module or a function."""

    def __init__(self, seen: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _RELU:
            self.seen(output)
        return output
