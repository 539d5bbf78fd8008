"""Batch norm of a layer's channels, applied to one step's channels at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqconv.layers import folded_norm

VECTORS = ("weight", "bias", "running_mean", "running_var")
"""What a norm has for each channel."""


class StepNorm(NamedTuple):
    """What `nn.BatchNorm2d` hands to `F.batch_norm` in one call of the layer, for all of its channels."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    training: bool
    momentum: float
    eps: float

    @classmethod
    def of(cls, module: nn.Module | None) -> StepNorm | None:
        """Counts the batch, as the module's own forward does; momentum None makes the running average a plain mean.

        Raises:
            ValueError: another norm, such as batch norm that is to be synchronised between processes, which a step's
                norm cannot be; or one without weights or running statistics.
        """
        if module is None:
            return None
        if not isinstance(module, nn.BatchNorm2d) or type(module).forward is not nn.BatchNorm2d.forward:
            raise ValueError(f"the norms of SeqConv2d must stay nn.BatchNorm2d, got {type(module).__name__}")
        vectors = {name: getattr(module, name) for name in VECTORS}
        count, momentum = module.num_batches_tracked, module.momentum
        if count is None or any(vector is None for vector in vectors.values()):
            raise ValueError(f"the norms of SeqConv2d must have weights and running statistics, got {module}")
        if module.training:
            count.add_(1)
            momentum = 1 / int(count) if momentum is None else momentum
        return cls(**vectors, training=module.training, momentum=momentum or 0.0, eps=module.eps)

    def step(self, channels: slice) -> StepNorm:
        """The same for some of the channels; running statistics are views, updated in place."""
        weight, bias, mean, var = (tensor[channels] for tensor in self[:4])
        return self._replace(weight=weight, bias=bias, running_mean=mean, running_var=var)

    def __call__(self, x_NCHW: Tensor) -> Tensor:
        """Normalise x, which has as many channels as this has."""
        weight, bias, mean, var, training, momentum, eps = self
        return F.batch_norm(x_NCHW, mean, var, weight, bias, training, momentum, eps)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and variance to normalise with, contiguous; in training memory for those of the batch."""
        mean, var = self.running_mean.contiguous(), self.running_var.contiguous()
        return (torch.empty_like(mean), torch.empty_like(var)) if self.training else (mean, var)

    def track(self, batch_mean: Tensor, batch_var: Tensor, values: int) -> None:
        """Move the running statistics towards those of a batch with that many values of each channel."""
        self.running_mean.lerp_(batch_mean, self.momentum)
        self.running_var.lerp_(batch_var * (values / (values - 1)), self.momentum)

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same outside autograd: x normalised, and the mean and the inverse deviation that `backward` needs.

        Raises:
            ValueError: one value per channel in training, as from `F.batch_norm`.
        """
        weight, bias, mean, var, training, momentum, eps = self
        values = x_NCHW.numel() // x_NCHW.shape[1]
        if training and values == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {x_NCHW.shape}")
        if not (training and folded_norm.folds(x_NCHW, weight)):
            return torch.native_batch_norm(x_NCHW, weight, bias, mean, var, training, momentum, eps)
        batch_mean, batch_var = folded_norm.mean_and_variance(x_NCHW)
        self.track(batch_mean, batch_var, values)
        normalised = torch.native_batch_norm(x_NCHW, weight, bias, batch_mean, batch_var, False, 0.0, eps)[0]
        return normalised, batch_mean, (batch_var + eps).rsqrt()

    def again(self, x_NCHW: Tensor, mean: Tensor, inverse_deviation: Tensor) -> Tensor:
        """What `forward` gave, without a second update of the running statistics."""
        if self.training:
            var = inverse_deviation.pow(-2) - self.eps
        else:
            mean, var = self.running_mean, self.running_var
        return torch.native_batch_norm(x_NCHW, self.weight, self.bias, mean, var, False, 0.0, self.eps)[0]

    def backward(
        self, d_NCHW: Tensor, x_NCHW: Tensor, mean: Tensor, inverse_deviation: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients with respect to x, the weight and the bias."""
        if self.training and all(folded_norm.folds(tensor, self.weight) for tensor in (x_NCHW, d_NCHW)):
            return folded_norm.backward(d_NCHW, x_NCHW, self.weight, mean, inverse_deviation, self.eps)
        saved = (self.running_mean, self.running_var, mean, inverse_deviation)
        wanted = (True, True, True)
        d_x, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(
            d_NCHW, x_NCHW, self.weight, *saved, self.training, self.eps, wanted
        )
        return d_x, d_weight, d_bias
