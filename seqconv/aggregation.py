"""Which groups a step of a sequentially aggregated convolution reads. Pure Python: no torch.

Group indices follow the paper: the input holds groups 1-G .. 0 (oldest first), the layer emits groups 1 .. g one after
the other, and step i may read any group before i. See Huang et al., "Sequentially Aggregated Convolutional Networks",
ICCV Workshops 2019, Eq. 2 (dense) and Eq. 3 (windowed). A pattern says which groups those are, a window among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import lru_cache

from seqconv import validation
from seqconv.adjacency import Adjacency
from seqconv.patterns import (
    DENSE,
    WINDOW,
    Dilated,
    Explicit,
    Group,
    Harmonic,
    Log,
    Pattern,
    Plain,
    Random,
    Regular,
    Shuffle,
    Split,
    Window,
)

__all__ = [
    "DENSE", "Adjacency", "Dilated", "Explicit", "Group", "Harmonic", "Log", "Pattern", "Plain", "Random",
    "Regular", "Shuffle", "Split", "Window", "canonical", "parse_pattern",
]  # fmt: skip

_NAMED: dict[str, type[Pattern]] = {
    kind.name: kind for kind in (Log, Harmonic, Regular, Group, Split, Dilated, Shuffle, Random)
}
"""The patterns that are written as a name, with their fields in brackets where they have any."""

_CALL = re.compile(r"(?P<name>[a-z]+)(\((?P<arguments>[^()]*)\))?")


def parse_pattern(value: object) -> Pattern:
    """Read a pattern as it stands in YAML; a Pattern passes through.

    A window is a number of groups (`4`), a ratio of the input groups (`0.5G`) or `dense`. The other patterns are a name
    with the fields of their class in brackets, by position or by name (`log`, `dilated(4, 2)`,
    `random(seed=1, p=0.5)`), or a list of the sources of each step (`[[0], [-1, 0, 1]]`).

    Raises:
        ValueError: anything else, with the forms that are allowed.
    """
    if isinstance(value, Pattern):
        return value
    if isinstance(value, (list, tuple)):
        return Explicit(tuple(value))
    if not isinstance(value, (bool, float)) and WINDOW.fullmatch(str(value)):
        return Window.parse(value)
    call = _CALL.fullmatch(value) if isinstance(value, str) else None
    if call is None or call["name"] not in _NAMED:
        near = validation.did_you_mean(call["name"] if call else value, [DENSE.name, *_NAMED])
        if str(value).count("(") > str(value).count(")"):
            near = "; inside [] or {} YAML needs it in quotes"
        raise ValueError(
            "window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, a list of each "
            f"step's sources, or one of {', '.join([DENSE.name, *map(_usage, _NAMED.values())])}; got {value!r}{near}"
        )
    try:
        return _NAMED[call["name"]](**_arguments(_NAMED[call["name"]], call["arguments"]))
    except ValueError as error:
        raise ValueError(f"window {value}: {error}") from None


def canonical(pattern: Pattern, sizes: Sequence[tuple[int, int]]) -> Pattern:
    """The first pattern, in a fixed order, with the same adjacency in every layer that uses it.

    The order is dense, a window in groups, log, harmonic, regular, group, split, dilated, shuffle, explicit. Patterns
    that read the same groups in all these layers have equal canonical forms, and no others have.

    Args:
        pattern: what the layers share.
        sizes: (G, g) of each layer. All have the same G.

    Raises:
        ValueError: no sizes, different G, or a size for which the pattern is not defined.
    """
    if len({in_groups for in_groups, _ in sizes}) != 1:
        raise ValueError(f"sizes must be one or more (G, g) with the same G, got {list(sizes)}")
    in_groups, out_groups = max(sizes)
    if isinstance(pattern, Window):
        return _canonical_window(pattern.resolve(in_groups), in_groups, out_groups)
    return _canonical(pattern, in_groups, tuple(sorted({out_groups for _, out_groups in sizes})))


def _canonical_window(width: int | None, in_groups: int, out_groups: int) -> Window:
    """Step i has G + i - 1 groups before it, so every width of at least G + g - 1 reads all of them."""
    return DENSE if width is None or width >= in_groups + out_groups - 1 else Window(groups=width)


@lru_cache(maxsize=1024)
def _canonical(pattern: Pattern, in_groups: int, out_groups: tuple[int, ...]) -> Pattern:
    layers = [pattern.adjacency(in_groups, steps) for steps in out_groups]
    return next(found for found in _candidates(layers) if all(_agrees(found, layer) for layer in layers))


def _candidates(layers: Sequence[Adjacency]) -> Iterator[Pattern]:
    """Of each kind those that may agree with layers of ascending g; the last one always does.

    Explicit rows describe every layer unless sources depend on g, as they do in the kinds before it alone.
    """
    in_groups, out_groups, rows = layers[-1].in_groups, layers[-1].out_groups, layers[-1].sources
    # Of windows and dilated windows no step reads more than the last, and the first one's newest source is d before it.
    width, dilation = len(rows[-1]), 1 - rows[0][-1]
    yield _canonical_window(width, in_groups, out_groups)
    yield from (Log(), Harmonic(), Regular(), Group(), Split())
    yield Dilated(Window(groups=width), dilation)
    yield from (Shuffle(size) for size in range(2, in_groups) if in_groups % size == 0)
    yield Explicit(rows)


def _agrees(pattern: Pattern, layer: Adjacency) -> bool:
    rows = enumerate(layer.sources, start=1)
    return all(tuple(pattern.sources(step, layer.in_groups, layer.out_groups)) == row for step, row in rows)


def _usage(kind: type[Pattern]) -> str:
    names = ", ".join(_field_names(kind))
    return f"{kind.name}({names})" if names else kind.name


def _field_names(kind: type[Pattern]) -> list[str]:
    return [field.name for field in fields(kind)]  # type: ignore[arg-type]


def _arguments(kind: type[Pattern], written: str | None) -> dict[str, int | float | str]:
    """`4, 2` or `window=4, dilation=2` as keyword arguments of `kind`, which checks their values."""
    names = _field_names(kind)
    parts = [] if written is None else [argument.rpartition("=") for argument in written.split(",")]
    if len(parts) == len(names):
        pairs = zip(names, parts, strict=True)
        arguments = {(key if equals else name).strip(): _number(value.strip()) for name, (key, equals, value) in pairs}
        if arguments.keys() == set(names):
            return arguments
    raise ValueError(f"it must be written as {_usage(kind)}")


def _number(written: str) -> int | float | str:
    if re.fullmatch(r"-?[0-9]{1,18}", written):
        return int(written)
    return float(written) if re.fullmatch(r"-?[0-9]*\.[0-9]+", written) else written
