"""What `seqconv.convert` made of each convolution of a network, as data and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from seqconv.layers.seqconv import SeqConv2d

COLUMNS = ("name", "convolution", "replaced by", "params", "after")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One convolution of a network, and what became of it."""

    name: str
    """Of the module; the first one where it has several."""
    convolution: str
    """Channels, kernel, and what else is out of the ordinary."""
    replacement: str | None
    """Pattern, form and groups of the SeqConv2d in its place; None where it was left alone."""
    reason: str | None
    """Why it was left alone; None where it was replaced."""
    params_before: int
    """Its parameters."""
    params_after: int
    """Parameters of what stands in its place; the same where it was left alone."""

    @classmethod
    def of(cls, name: str, conv: nn.Module, result: SeqConv2d | str) -> Row:
        """A row for what a convolution was replaced by, or for why it was left alone."""
        layer = result if isinstance(result, SeqConv2d) else None
        return cls(
            name=name,
            convolution=_described(conv),
            replacement=None if layer is None else _replacement(layer),
            reason=None if isinstance(result, SeqConv2d) else result,
            params_before=_params(conv),
            params_after=_params(layer or conv),
        )

    def cells(self) -> tuple[str, ...]:
        """Texts for the columns of the table."""
        done = self.replacement or f"left alone: {self.reason}"
        return self.name, self.convolution, done, f"{self.params_before:,}", f"{self.params_after:,}"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What `seqconv.convert` did. As text it is a table with a row for each convolution."""

    model: nn.Module
    """The converted network."""
    rows: tuple[Row, ...]
    """In the order of the network's modules."""

    @property
    def replaced(self) -> tuple[Row, ...]:
        """Convolutions in whose place stands a SeqConv2d."""
        return tuple(row for row in self.rows if row.reason is None)

    @property
    def left(self) -> tuple[Row, ...]:
        """Convolutions that were left alone."""
        return tuple(row for row in self.rows if row.reason is not None)

    def __str__(self) -> str:
        table = [COLUMNS, *(row.cells() for row in self.rows)]
        name, conv, done, before, after = (max(map(len, column)) for column in zip(*table, strict=True))
        lines = [f"{r[0]:{name}}  {r[1]:{conv}}  {r[2]:{done}}  {r[3]:>{before}}  {r[4]:>{after}}" for r in table]
        params = [sum(row.params_before for row in self.rows), sum(row.params_after for row in self.rows)]
        total = f"{len(self.replaced)} of {len(self.rows)} convolutions replaced"
        return "\n".join([*lines, f"{total}, params {params[0]:,} -> {params[1]:,}"])


def _described(conv: Any) -> str:
    """Such as `64 -> 128, 3x3, stride 2`; of what merely looks like a convolution, as far as it says so."""
    parts = [f"{conv.in_channels} -> {conv.out_channels}", "x".join(map(str, _sides(conv.kernel_size)))]
    for attribute in ("stride", "dilation", "groups"):
        sides = _sides(getattr(conv, attribute, 1))
        if set(sides) != {1}:
            parts.append(f"{attribute} {'x'.join(map(str, sides if len(set(sides)) > 1 else sides[:1]))}")
    return ", ".join(parts)


def _sides(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _replacement(layer: SeqConv2d) -> str:
    """G and g are those of the sequential steps: with a stride, of the extension if there is one."""
    parts = [str(layer.pattern), layer.form, f"k {layer.group_width}", f"G {layer.in_groups}", f"g {layer.out_groups}"]
    if layer.groups > 1:
        parts.append(f"S {layer.groups}")
    if layer.shrinking is not None:
        parts.append("then shrinking" if layer.extends else "after shrinking")
    if layer.unread_groups:
        parts.append(f"{layer.unread_groups} unread")
    return ", ".join(parts)


def _params(module: nn.Module) -> int:
    """Those that have a shape."""
    return sum(p.numel() for p in module.parameters() if not isinstance(p, nn.parameter.UninitializedParameter))
