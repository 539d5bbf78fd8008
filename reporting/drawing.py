"""Small drawings of aggregation patterns: the triangle of who reads whom."""

from __future__ import annotations

import html
from collections.abc import Iterator

from seqconv import Architecture, Stage

_HEIGHT, _LARGEST_CELL = 56, 8
"""Pixels."""


def drawings(architecture: Architecture) -> str:
    """HTML: for each stage a drawing over what the stage is.

    Steps are from top to bottom, what they read from left to right, the oldest first.
    """
    stages = zip(architecture.stages, architecture.groups, strict=True)
    drawn = (f"<span>{_svg(stage, groups)}<small>{_caption(stage, groups)}</small></span>" for stage, groups in stages)
    return f'<span class="patterns">{"".join(drawn)}</span>'


def _caption(stage: Stage, groups: int) -> str:
    blocks = "1 block" if stage.blocks == 1 else f"{stage.blocks} blocks"
    return f"{blocks}, {groups}g{stage.group_width}, {html.escape(str(stage.window))}, {stage.form_name}"


def _svg(stage: Stage, groups: int) -> str:
    """Input groups that a step reads in one colour, earlier outputs in another, all it could read behind them."""
    adjacency = stage.window.adjacency(groups, groups)
    inputs, steps = adjacency.in_groups, adjacency.out_groups
    columns = inputs + steps - 1  # nothing reads the last output
    side = min(_LARGEST_CELL, _HEIGHT / steps)
    reach = "".join(_row(step, 0, inputs + step) for step in range(steps))
    read = {"i": "", "o": ""}
    for step, sources in enumerate(adjacency.sources):
        for first, last in _spans(sources):
            split = max(first, min(last, 1))
            for kind, start, end in (("i", first, split), ("o", split, last)):
                if start < end:
                    read[kind] += _row(step, start + inputs - 1, end + inputs - 1)
    return (
        f'<svg viewBox="0 0 {columns} {steps}" width="{columns * side:.0f}" height="{steps * side:.0f}" role="img">'
        f"<title>who reads whom: {steps} steps, {inputs} input groups</title>"
        f'<path class="r" d="{reach}"/><path class="i" d="{read["i"]}"/><path class="o" d="{read["o"]}"/></svg>'
    )


def _row(step: int, start: int, end: int) -> str:
    """Cells of a step from one column to before another, as a part of an SVG path."""
    return f"M{start} {step}h{end - start}v1h-{end - start}z"


def _spans(sources: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First, and one past the last, of each unbroken range."""
    first = sources[0]
    for before, after in zip(sources, (*sources[1:], None), strict=True):
        if after != before + 1:
            yield first, before + 1
            first = after if after is not None else first
