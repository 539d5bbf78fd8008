"""The plot of one CSV that layers.py wrote: what was measured in color, the most that is allowed as black lines.

python benchmarks/plot_layers.py FILE.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

PANES = (
    (("plain", "bottleneck", "network"), "ratio", "time / time of the twin; of whole networks per training step"),
    (("windows",), "ratio", "time / time of w = G"),
    (("memory",), "saved_inputs", "saved for backward, in inputs"),
    (("network_peak",), "ratio", "peak memory of a training step / that of the twins"),
    (("imagenet",), "ratio", "time per multiply-add of a training step / that of resnet50"),
)
"""Cases, the column that is drawn, and what the axis says."""
COLORS = {"twin": "lightgray", "reference": "tab:orange", "blocked": "lightsteelblue", "resnet50": "lightgray"}
NAMES = {"reference": "step by step", "auto": "SeqConv2d"}


class Bar(NamedTuple):
    """One variant of one layer or network."""

    label: str
    value: float
    limit: float | None
    color: str


def plot(path: Path) -> Path:
    """Draw a CSV; returns the PNG beside it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    panes = [(bars, title) for cases, column, title in PANES if (bars := _bars(rows, cases, column))]
    heights = [len(bars) + 2 for bars, _ in panes]
    figure, axes = plt.subplots(
        len(panes), figsize=(9, 1 + 0.27 * sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, (bars, title) in zip(axes[:, 0], panes, strict=True):
        _draw(axis, bars, title)
    one = rows[0]
    title = (
        f"{one['processor']}, {one['isa']}, {one['dtype']}, threads: {one['threads']}; black: the most that is allowed"
    )
    figure.suptitle(title, fontsize=10)
    png = path.with_suffix(".png")
    figure.savefig(png, dpi=130)
    plt.close(figure)
    return png


def _bars(rows: Sequence[dict[str, str]], cases: Sequence[str], column: str) -> list[Bar]:
    """In the better memory format. Left out: panel sizes that were asked for, and twins where they are at 1."""
    found: dict[str, Bar] = {}
    for row in rows:
        is_drawn = row["variant"] != "blocked_panel" and (row["variant"] != "twin" or column != "ratio")
        if row["case"] in cases and is_drawn and row[column]:
            bar = Bar(
                _label(row),
                float(row[column]),
                float(row["bar"]) if row["bar"] else None,
                COLORS.get(row["variant"], "tab:blue"),
            )
            if bar.label not in found or bar.value < found[bar.label].value:
                found[bar.label] = bar
    return list(found.values())


def _label(row: dict[str, str]) -> str:
    of = f"{row['form']} C={row['C']} k={row['k']} {row['size']}x{row['size']}" if row["C"] else row["case"]
    variant = f"w={row['window']}" if row["case"] == "windows" else NAMES.get(row["variant"], row["variant"])
    return f"{of}: {variant}{', CUDA graph' if row['execution'] == 'graph' else ''}"


def _draw(axis: Any, bars: Sequence[Bar], title: str) -> None:
    for place, bar in enumerate(bars):
        axis.barh(place, bar.value, color=bar.color)
        if bar.limit is not None:
            axis.plot([bar.limit] * 2, [place - 0.45, place + 0.45], color="black", linewidth=2)
    axis.set_yticks(range(len(bars)), [f"{bar.label}   {bar.value:.2f}" for bar in bars], fontsize=8)
    axis.invert_yaxis()
    axis.axvline(1, color="gray", linewidth=0.8, linestyle=":")
    axis.set_title(title, fontsize=9, loc="left")
    axis.margins(x=0.1, y=0.02)
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    print(plot(Path(sys.argv[1])))
