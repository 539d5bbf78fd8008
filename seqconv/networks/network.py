"""Parts in a row as one module: logits, stage features, and recomputation that trades time for memory.

Recomputation is `torch.utils.checkpoint` around each head, block and downsampling layer: of those only the inputs are
kept for backward, which computes the rest a second time. Losses, gradients and running statistics are the same.
Not for use under `torch.compile`, which decides by itself what to recompute.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqconv.layers.streams import Streams
from seqconv.networks.modules import Block, Downsample, Head

_FEATURE = re.compile(r"head|stage\d+")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """The act stream at the end of a stage (or of the head), (N, channels, H / reduction, W / reduction)."""

    name: str
    """`head`, `stage1`, `stage2`, ..."""
    part: str
    """Name of the part that computes it."""
    channels: int
    """C of the tensor."""
    reduction: int
    """By what the image's height and width are divided."""


class Network(nn.Sequential):
    """Maps (N, C, H, W) images to (N, classes) logits, and to stage features by `features`.

    Args:
        parts: the modules by name, in the order in which they run.
        recompute: keep only the inputs of head, blocks and downsampling layers for backward; may be set later.
    """

    def __init__(self, parts: OrderedDict[str, nn.Module], *, recompute: bool = False) -> None:
        super().__init__(parts)
        self.recompute = recompute
        self.feature_info = feature_info(parts.items())

    def forward(self, image_NCHW: Tensor) -> Tensor:
        flow: Any = image_NCHW
        for part in self:
            flow = run(part, flow, recompute=self.recompute)
        return flow  # type: ignore[no-any-return]

    def features(self, image_NCHW: Tensor) -> dict[str, Tensor]:
        """The tensors that `feature_info` describes, by name, finest first; nothing behind them is computed."""
        names = {feature.part: feature.name for feature in self.feature_info}
        found: dict[str, Tensor] = {}
        flow: Any = image_NCHW
        for part_name, part in self.named_children():
            if len(found) == len(names):
                break
            flow = run(part, flow, recompute=self.recompute)
            if part_name in names:
                found[names[part_name]] = flow.act
        return found


def feature_info(parts: Iterable[tuple[str, Any]]) -> tuple[Feature, ...]:
    """What the head and the last part of each stage hand on, in the order in which they run."""
    found: dict[str, Feature] = {}
    reduction = 1
    for part_name, part in parts:
        reduction *= getattr(part, "stride", 1)
        if match := _FEATURE.match(part_name):
            name = match[0]
            found[name] = Feature(name=name, part=part_name, channels=part.out_channels, reduction=reduction)
    return tuple(found.values())


def run(part: nn.Module, flow: Any, *, recompute: bool) -> Any:
    """The part's output; with `recompute` it is computed again in backward where it is large enough to pay."""
    if not (recompute and isinstance(part, (Head, Block, Downsample))):
        return part(flow)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _buffers_kept(part)

    # Each argument is kept until backward, and only a block reads raw.
    raw = flow.raw if isinstance(part, Block) else None
    return checkpoint(lambda raw, act: part(Streams(raw, act)), raw, flow.act, use_reentrant=False, context_fn=contexts)


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Undo what a second pass over the same batch does to running statistics, however the module updates them."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            # Through .data: autograd refuses tensors that it saved and that were changed in its sight.
            buffer.data.copy_(value)
