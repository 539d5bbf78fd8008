"""Parameters, multiply-adds, activation memory and serial depth of a network, read off the meta device.

`python -m seqconv.complexity PRESET|FILE [--resolution 224] [--classes 1000] [--json]` prints them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from seqconv import validation
from seqconv.architecture import Architecture
from seqconv.networks.presets import FAMILIES, PRESETS
from seqconv.serialization import read_architecture

if TYPE_CHECKING:
    from torch import nn

    from seqconv.tracing import Cost


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Cost of a network for one image."""

    params: int
    """Trainable parameters."""
    macs: int
    """Multiply-adds of the convolutions and the linear layers, as `torch.utils.flop_counter` has them (half its FLOPs).
    Those of the aggregation pattern: the zeros that the blocked plan multiplies with are left out."""
    paper_flops: int
    """The convention of Huang et al.: multiply-adds + 2 per batch-normed + 3 per rectified element."""
    serial_depth: int
    """Convolutions and linear layers on the longest chain in which each must wait for the one before."""
    unread_groups: int
    """Input groups, summed over the layers, that no step of their layer reads."""
    activation_bytes: int
    """Memory that each image of a batch keeps from the forward to the backward pass: in training mode and float32, with
    the plans that would run on a GPU, the distinct storages of all tensors that autograd saves. The image itself and
    what layers hand on are among them where they are saved. Parameters, buffers and what a batch of any size needs
    once, such as means and variances, are left out."""


def measure(
    architecture: Architecture,
    *,
    resolution: int | None = None,
    classes: int | None = None,
    dropout: float = 0.0,
    recompute: bool = False,
) -> Complexity:
    """Cost of the network of `architecture` for one image.

    Parts that were measured before are remembered, so that a search may ask for thousands of architectures.

    Args:
        architecture: what to measure.
        resolution: side of the square image in pixels; None for that of the family's data set.
        classes: number of classes; None for that of the family's data set.
        dropout: as in `seqconv.build`; with it layers are trained step by step, which keeps more for backward.
        recompute: as in `seqconv.build`; keeps less.

    Raises:
        ValueError: an argument out of range.
    """
    family = FAMILIES[architecture.family]
    resolution = family.resolution if resolution is None else validation.integer("resolution", resolution)
    classes = family.classes if classes is None else validation.integer("classes", classes)
    validation.boolean("recompute", recompute)

    from seqconv.networks.build import plan
    from seqconv.tracing import Handed, trace_part

    handed: tuple[Handed, ...] = (Handed((3, resolution, resolution)),)
    keeps: tuple[int, ...] = (0,)
    costs, kept = [], 0
    for part in plan(architecture, classes=classes, dropout=dropout).values():
        try:
            trace = trace_part(part, handed, recompute)
        except RuntimeError as error:
            raise ValueError(f"resolution {resolution}: {_first_line(error)}") from error
        # What is handed on is kept once, whether the part before wants it for backward, the part behind, or both.
        kept += sum(of_this for of_this, before in zip(trace.keeps_input, keeps, strict=True) if not before)
        costs.append(trace.cost)
        handed, keeps = trace.outputs, trace.keeps_output
    return _total(costs, kept)


def measure_module(module: nn.Module, input_shape: Sequence[int]) -> Complexity:
    """Cost of any module that maps one tensor to tensors, such as a network that was converted to SeqConv.

    Args:
        module: stays as it is; may hold data or not.
        input_shape: of one image, without a batch, such as (3, 224, 224).

    Raises:
        ValueError: a shape that the module does not run on.
    """
    from seqconv.tracing import Handed, on_meta, trace

    shape = tuple(validation.integer("input_shape entry", side) for side in input_shape)
    try:
        traced = trace(on_meta(module), [Handed(shape)])
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{type(module).__name__} with an input of shape {shape}: {_first_line(error)}") from error
    return _total([traced.cost], sum(traced.keeps_input))


def _total(costs: Iterable[Cost], kept: int) -> Complexity:
    from seqconv.tracing import Cost

    total = Cost(*map(sum, zip(*costs, strict=True)))
    return Complexity(
        params=total.params,
        macs=total.macs,
        paper_flops=total.macs + total.elementwise,
        serial_depth=total.serial_depth,
        unread_groups=total.unread_groups,
        activation_bytes=total.activation_bytes + kept,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 2 where the input cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        architecture = read_architecture(options.architecture)
        size = {name: getattr(options, name) for name in ("resolution", "classes")}
        cost = measure(architecture, **size, dropout=options.dropout, recompute=options.recompute)
    except (ValueError, OSError) as error:
        print(f"error: {_first_line(error)}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"fingerprint": architecture.fingerprint(), **asdict(cost)}))
        return 0
    print(f"{architecture.describe()}   {architecture.fingerprint()}")
    for name, value in asdict(cost).items():
        print(f"{name:>16} {value:>16,}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m seqconv.complexity", description=__doc__.splitlines()[0])
    parser.add_argument("architecture", help=f"an architecture.yaml, or a preset: {', '.join(PRESETS)}")
    for name, what in (("resolution", "image side in pixels"), ("classes", "number of classes")):
        defaults = ", ".join(f"{getattr(family, name)} for {of}" for of, family in FAMILIES.items())
        parser.add_argument(f"--{name}", type=int, help=f"{what} (default: {defaults})")
    parser.add_argument("--dropout", type=float, default=0.0, help="in training (default: 0)")
    parser.add_argument("--recompute", action="store_true", help="blocks are recomputed in backward")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
