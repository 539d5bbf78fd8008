"""Sequentially aggregated convolutions in any network: what can be replaced is replaced, and a table says the rest.

    conversion = seqconv.convert(torchvision.models.resnet50())
    print(conversion)
    model = conversion.model

Paper: Huang, Ou, Wu, Feng, "Sequentially Aggregated Convolutional Networks", ICCV Workshops 2019 (arXiv 1811.10798).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from seqconv import validation
from seqconv.aggregation import Pattern, parse_pattern
from seqconv.conversion_report import Conversion, Row
from seqconv.layers.plans import PLANS
from seqconv.layers.seqconv import FORMS, SeqConv2d

Where = Callable[[str, nn.Conv2d], bool] | str | Sequence[str] | None
GroupWidth = int | Callable[[str, nn.Conv2d], int | None] | Mapping[str, int] | None

GROUPS = 8
"""Groups of input and of output that the default group width leaves."""
NARROWEST = 4
"""Least channels of a group by default."""
NOT_SELECTED = "not selected"
NO_WIDTH = "no group width for it"
NO_DEFAULT_WIDTH = f"channels make no two groups of {NARROWEST} or more"


def convert(
    model: nn.Module,
    *,
    pattern: Pattern | int | str = "1G",
    group_width: GroupWidth = None,
    where: Where = None,
    form: str = "auto",
    plan: str = "auto",
) -> Conversion:
    """Replace convolutions of a network, in place, by sequentially aggregated ones with fresh weights.

    A SeqConv2d takes the place of the convolution alone, so the network's own norm and activation follow it as before.
    Its steps have a batch norm and a ReLU of their own, inside: later steps read the normalised, activated groups, and
    what leaves the layer is their values before that, as from any convolution. So a 3x3 convolution of C to C channels
    with the pattern 1G keeps its parameters and multiply-adds, and gains the 2 C parameters of the inner norm.

    Replaced is an `nn.Conv2d` with an odd kernel larger than 1x1, "same" zero padding, and whole groups of
    `group_width` channels on either side, at least two of them in the output. All else is left alone, for the reason
    in its row: stems that read an image, 1x1, even-sized and transposed convolutions, subclasses of `nn.Conv2d`
    (which compute something else), weights that several modules share, and modules with hooks. A stride is carried by
    a grouped convolution beside the steps (see `SeqConv2d`).

    A convolution in S groups becomes form bottleneck: a sequentially aggregated 1x1 in front, and behind it kernels
    that over all steps form exactly those S groups. It must have as many output as input channels, and a group of
    `group_width` channels must hold whole ones of its own. Depthwise ones have one channel in each.

    Weights are drawn afresh, with the spread that gives the output the scale it had, since a network without norms
    counts on it. Device, dtype, memory format, training mode and requires_grad are those of the replaced convolution; a
    module that has several names is replaced once, under all of them. Nothing is replaced before all has been checked.
    Convert before making an optimizer, compiling, or wrapping for distributed training: they hold the old parameters.

    Args:
        model: the network. Of a lone convolution, `Conversion.model` alone is the converted one.
        pattern: what each step reads: an `aggregation.Pattern`, or what `parse_pattern` reads: 4, "0.5G", "dense".
        group_width: k, channels of a group: a number, a number by glob of module names (the first that matches), or a
            function of name and convolution that returns one, or None to leave that convolution alone. By default, for
            each convolution, the largest of at least 4 that leaves 8 groups on either side, or if none does, the
            smallest, provided that it leaves 2.
        where: which of these convolutions: one or several globs of module names (`layer3.*`; a star matches dots too),
            or a function of name and convolution. By default all.
        form: "plain", "bottleneck", or "auto", which is plain but for convolutions in groups.
        plan: of execution, see `SeqConv2d`.

    Raises:
        ValueError: an argument that is not allowed, a name that matches no module or none that is an nn.Conv2d; or
            nothing to replace although `group_width` or `where` was given, with the commonest reasons.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {str(model)[:100]!r}")
    rule = _Rule(
        pattern=parse_pattern(pattern),
        form=validation.one_of("form", form, ("auto", *FORMS)),
        plan=validation.one_of("plan", plan, PLANS),
        chooses=_chooser(where, model),
        width=_widths(group_width, model),
        no_width=NO_DEFAULT_WIDTH if group_width is None else NO_WIDTH,
    )
    tied = _tied(model)
    found = [(names, conv, rule.apply(names, conv, tied)) for conv, names in _convolutions(model).items()]
    rows = tuple(Row.of(names[0], conv, result) for names, conv, result in found)
    if (group_width is not None or where is not None) and all(row.reason is not None for row in rows):
        raise ValueError(f"nothing was replaced: {_commonest(rows)}")
    for names, _, result in found:
        for name in names:
            if isinstance(result, SeqConv2d):
                model = _replaced(model, name, result)
    return Conversion(model=model, rows=rows)


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """The arguments of `convert`, read."""

    pattern: Pattern
    form: str
    plan: str
    chooses: Callable[[str, nn.Conv2d], bool]
    width: Callable[[str, nn.Conv2d], int | None]
    no_width: str
    """What it means that there is none."""

    def apply(self, names: Sequence[str], conv: nn.Module, tied: frozenset[int]) -> SeqConv2d | str:
        """The layer that replaces a convolution, or why none does."""
        if type(conv) is not nn.Conv2d:
            return _other_type(conv)
        if not any(self.chooses(name, conv) for name in names):
            return NOT_SELECTED
        reason = _attached(conv, tied) or _geometry(conv)
        if reason is not None:
            return reason
        width = next((width for name in names if (width := self.width(name, conv)) is not None), None)
        if width is None:
            return self.no_width
        try:
            return self._layer(conv, width)
        except ValueError as error:
            return str(error)

    def _layer(self, conv: nn.Conv2d, width: int) -> SeqConv2d:
        if conv.in_channels % width or conv.out_channels % width:
            raise ValueError(f"channels are not whole groups of {width}")
        if conv.out_channels == width:
            raise ValueError(f"one output group of {width}: nothing to aggregate")
        auto = "plain" if conv.groups == 1 else "bottleneck"
        layer = SeqConv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            "same",
            conv.dilation,
            self._groups(conv, width),
            conv.bias is not None,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
            group_width=width,
            pattern=self.pattern,
            form=auto if self.form == "auto" else self.form,
            norm=True,
            activation=True,
            output="raw",
            plan=self.plan,
        )
        _draw_like(layer, conv)
        return _as(layer, conv)

    def _groups(self, conv: nn.Conv2d, width: int) -> int:
        """S of each step, such that all steps together have the groups of `conv`."""
        if conv.groups == 1:
            return 1
        if self.form == "plain":
            raise ValueError("form plain has no groups within a step")
        if conv.in_channels != conv.out_channels:
            raise ValueError("in groups, with another number of output channels")
        each = conv.in_channels // conv.groups
        if width % each:
            raise ValueError(f"group width {width} does not hold whole groups of {each}")
        return width // each


def _convolutions(model: nn.Module) -> dict[nn.Module, list[str]]:
    """Whatever looks like a convolution, with all of its names; not what is inside a SeqConv2d."""
    found: dict[nn.Module, list[str]] = {}
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules(remove_duplicate=False):
        if name.startswith(inside):
            continue
        if isinstance(module, SeqConv2d):
            inside += (f"{name}." if name else "",)
        if all(hasattr(module, attribute) for attribute in ("in_channels", "out_channels", "kernel_size")):
            found.setdefault(module, []).append(name)
    return found


def _tied(model: nn.Module) -> frozenset[int]:
    """Identities of the parameters that several modules hold."""
    holders = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))
    return frozenset(p for p, number in holders.items() if number > 1)


def _chooser(where: Where, model: nn.Module) -> Callable[[str, nn.Conv2d], bool]:
    if where is None:
        return lambda name, conv: True
    if callable(where):
        return where
    globs = _globs("where", [where] if isinstance(where, str) else where, model)
    return lambda name, conv: any(fnmatchcase(name, glob) for glob in globs)


def _widths(group_width: GroupWidth, model: nn.Module) -> Callable[[str, nn.Conv2d], int | None]:
    if group_width is None:
        return lambda name, conv: _default_width(conv)
    if callable(group_width):
        return lambda name, conv: _checked(name, group_width(name, conv))
    if not isinstance(group_width, Mapping):
        width = validation.integer("group_width", group_width)
        return lambda name, conv: width
    by_glob = {
        glob: validation.integer(f"group_width of {glob}", group_width[glob])
        for glob in _globs("group_width", list(group_width), model)
    }
    return lambda name, conv: next((width for glob, width in by_glob.items() if fnmatchcase(name, glob)), None)


def _checked(name: str, width: int | None) -> int | None:
    return None if width is None else validation.integer(f"group_width of {name}", width)


def _default_width(conv: nn.Conv2d) -> int | None:
    """The largest width that leaves `GROUPS` groups, or else the smallest; None where that leaves less than two."""
    each = 1 if conv.groups == 1 else conv.in_channels // conv.groups
    common, fewest = math.gcd(conv.in_channels, conv.out_channels), min(conv.in_channels, conv.out_channels)
    widths = [k for k in range(NARROWEST, fewest // 2 + 1) if common % k == 0 and k % each == 0]
    return max((k for k in widths if k * GROUPS <= fewest), default=min(widths, default=None))


def _globs(argument: str, globs: Any, model: nn.Module) -> list[str]:
    """The globs, each of which names a convolution."""
    if not isinstance(globs, Sequence) or not all(isinstance(glob, str) for glob in globs):
        raise ValueError(f"{argument} must name modules, as in 'layer3.*', or be a function; got {globs!r}")
    modules = dict(model.named_modules(remove_duplicate=False))
    for glob in globs:
        named = [module for name, module in modules.items() if fnmatchcase(name, glob)]
        if not named:
            near = validation.did_you_mean(glob, [name for name, m in modules.items() if isinstance(m, nn.Conv2d)])
            raise ValueError(f"{argument} names no module: {glob!r}{near}")
        if not any(isinstance(module, nn.Conv2d) for module in named):
            kind = type(named[0]).__name__
            raise ValueError(f"{argument} names {glob!r}, a {kind}: a converted module must be an nn.Conv2d")
    return list(globs)


def _other_type(conv: nn.Module) -> str:
    if isinstance(conv, SeqConv2d):
        return "a SeqConv2d already"
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in conv.parameters()):
        return "no shape yet: run the network once"
    kind = type(conv).__name__
    if kind == "Conv2d":
        kind = f"{type(conv).__module__}.{kind}"
    return f"a {kind}, not nn.Conv2d itself"


def _attached(conv: nn.Conv2d, tied: frozenset[int]) -> str | None:
    """What would be lost with the convolution."""
    if conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or conv._backward_pre_hooks:
        return "has hooks, as weight norm and pruning do"
    return "shares its weight" if id(conv.weight) in tied else None


def _geometry(conv: nn.Conv2d) -> str | None:
    """Why no SeqConv2d has this shape, whatever the groups."""
    if conv.kernel_size == (1, 1):
        return "1x1"
    if any(side % 2 == 0 for side in conv.kernel_size):
        return "even kernel: outputs do not line up with inputs"
    same = tuple(d * (side - 1) // 2 for d, side in zip(conv.dilation, conv.kernel_size, strict=True))
    if conv.padding not in ("same", same):
        return "padding is not 'same'"
    if conv.padding_mode != "zeros":
        return f"padding with {conv.padding_mode}, not zeros"
    return "complex weights" if conv.weight.is_complex() else None


@torch.no_grad()
def _draw_like(layer: SeqConv2d, conv: nn.Conv2d) -> None:
    """Scale the convolution that computes the output: as many inputs, each weighted as much, add up as in `conv`."""
    weight: Tensor = layer.weight
    if layer.extends and layer.shrinking is not None:
        weight = layer.shrinking.conv.weight
    a_plain_step = layer.layout.packed / layer.out_groups
    read = a_plain_step if weight is layer.weight and layer.form == "plain" else weight.shape[1]
    weight.mul_(conv.weight.std() / weight.std() * math.sqrt(conv.weight.shape[1] / read))


def _as(layer: SeqConv2d, conv: nn.Conv2d) -> SeqConv2d:
    """In the mode and the memory format of `conv`, trained where it is."""
    layer.train(conv.training).requires_grad_(conv.weight.requires_grad)
    if layer.bias is not None and conv.bias is not None:
        layer.bias.requires_grad_(conv.bias.requires_grad)
    # A depthwise weight counts as contiguous in both formats; its strides tell.
    is_channels_last = conv.weight.stride(1) == 1
    return layer.to(memory_format=torch.channels_last) if is_channels_last else layer


def _replaced(model: nn.Module, name: str, layer: SeqConv2d) -> nn.Module:
    if not name:
        return layer
    model.set_submodule(name, layer)
    return model


def _commonest(rows: Sequence[Row]) -> str:
    reasons = Counter(row.reason for row in rows if row.reason != NOT_SELECTED)
    if not reasons:
        return f"where selects none of {len(rows)} convolutions"
    return "; ".join(f"{number} x {reason}" for reason, number in reasons.most_common(3))
