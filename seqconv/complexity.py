"""Parameters, multiply-adds and serial depth, read off the network on the meta device: nothing is computed.

`python -m seqconv.complexity PRESET|FILE --resolution 32 [--json]` prints them.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from seqconv import validation
from seqconv.architecture import Architecture
from seqconv.networks.build import plan
from seqconv.networks.part import Part, Streams
from seqconv.networks.presets import PRESETS
from seqconv.serialization import read_architecture


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Cost of a network for one image."""

    params: int
    """Trainable parameters."""
    macs: int
    """Multiply-adds of the convolutions and the linear layer."""
    paper_flops: int
    """The convention of Huang et al.: multiply-adds + 2 per batch-normed + 3 per rectified element."""
    serial_depth: int
    """Convolutions and linear layers on the longest chain in which each must wait for the one before."""
    unread_groups: int
    """Input groups, summed over the layers, that no step of their layer reads."""

    def __add__(self, other: Complexity) -> Complexity:
        mine, theirs = asdict(self), asdict(other)
        return Complexity(**{name: mine[name] + theirs[name] for name in mine})


def measure(architecture: Architecture, *, resolution: int = 32, classes: int = 10) -> Complexity:
    """Cost of the network of `architecture` for one square image of `resolution` pixels a side.

    Parts that were measured before are remembered, so that a search may ask for thousands of architectures.

    Raises:
        ValueError: resolution or classes below 1.
    """
    validation.integer("resolution", resolution)
    shapes: tuple[tuple[int, ...], ...] = ((1, 3, resolution, resolution),)
    costs = []
    for part in plan(architecture, classes=classes).values():
        cost, shapes = _measure_part(part, shapes)
        costs.append(cost)
    return functools.reduce(Complexity.__add__, costs)


@functools.lru_cache(maxsize=65536)
def _measure_part(part: Part, in_shapes: tuple[tuple[int, ...], ...]) -> tuple[Complexity, tuple[tuple[int, ...], ...]]:
    """Cost of one part, and the shapes that it hands to the next."""
    with torch.device("meta"):
        module: Any = part.build().eval()
        inputs = [torch.empty(shape) for shape in in_shapes]
    with _Counter() as counter, torch.no_grad():
        output = module(inputs[0] if len(inputs) == 1 else Streams(*inputs))
    cost = Complexity(
        params=sum(p.numel() for p in module.parameters()),
        macs=counter.macs,
        paper_flops=counter.macs + counter.elementwise,
        serial_depth=module.serial_depth,
        unread_groups=module.unread_groups,
    )
    outputs = (output,) if isinstance(output, Tensor) else tuple(output)
    return cost, tuple(tuple(o.shape) for o in outputs)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what runs under it, with torch's own formulas for multiply-adds.

    Elementwise operations only hand on their shape: torch's meta kernels would take most of the time for them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs, self.elementwise = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        op, kwargs = func.overloadpacket, kwargs or {}
        if op in _ELEMENTWISE:
            self.elementwise += _ELEMENTWISE[op] * args[0].numel()
            like = args[0].new_empty(args[0].shape)
            return (like, like.new_empty(0), like.new_empty(0)) if op is torch.ops.aten.native_batch_norm else like
        output = func(*args, **kwargs)
        if op in flop_registry:
            self.macs += flop_registry[op](*args, **kwargs, out_val=output) // 2
        return output


_ELEMENTWISE = {torch.ops.aten.native_batch_norm: 2, torch.ops.aten.relu: 3}
"""What counts in the paper's convention, per element."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 2 where the input cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m seqconv.complexity", description=__doc__.splitlines()[0])
    parser.add_argument("architecture", help=f"an architecture.yaml, or a preset: {', '.join(PRESETS)}")
    parser.add_argument("--resolution", type=int, default=32, help="image side in pixels (default: 32)")
    parser.add_argument("--classes", type=int, default=10, help="number of classes (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        architecture = read_architecture(options.architecture)
        cost = measure(architecture, resolution=options.resolution, classes=options.classes)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"fingerprint": architecture.fingerprint(), **asdict(cost)}))
        return 0
    print(f"{architecture.describe()}   {architecture.fingerprint()}")
    for name, value in asdict(cost).items():
        print(f"{name:>14} {value:>16,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
