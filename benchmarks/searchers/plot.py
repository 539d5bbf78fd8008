"""The plot of a comparison: means over the repeats, and bands of two standard errors on either side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plain_optuna import SAMPLERS
from summary import EVALUATIONS, HOURS, Curve

AXES = {EVALUATIONS: "trials trained", HOURS: "simulated hours"}
FLOOR = 1e-3
"""Below it the scale is linear, so that a regret of 0 can be drawn."""


def plot(curves: Sequence[Curve], labels: Mapping[str, str], title: str, path: Path) -> Path:
    """Draw curves: a row of panes for each measure, a pane for each axis.

    Args:
        curves: of every contender, measure and axis.
        labels: what the y-axis of each measure says.
        title: above all panes.
        path: of the PNG, which is returned.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    axes = [axis for axis in AXES if any(curve.axis == axis for curve in curves)]
    size = (6.5 * len(axes), 0.6 + 4.2 * len(labels))
    figure, panes = plt.subplots(
        len(labels), len(axes), figsize=size, squeeze=False, sharey="row", layout="constrained"
    )
    for (measure, label), line in zip(labels.items(), panes, strict=True):
        line[0].set_ylabel(label)
        for axis, pane in zip(axes, line, strict=True):
            _draw(pane, [curve for curve in curves if curve.measure == measure and curve.axis == axis])
            pane.set_xlabel(AXES[axis])
    panes[0, 0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _draw(pane: Any, curves: Sequence[Curve]) -> None:
    for number, curve in enumerate(curves):
        color, style = f"C{number % 10}", "--" if curve.contender in SAMPLERS else "-"
        pane.plot(curve.points, curve.means, color=color, linestyle=style, label=curve.contender)
        low, high = curve.means - 2 * curve.errors, curve.means + 2 * curve.errors
        pane.fill_between(curve.points, low, high, color=color, alpha=0.15, linewidth=0)
    # The first trials are guesses: what matters begins where the best contender has left them behind.
    top = min(curve.means[len(curve.means) // 20] for curve in curves)
    pane.set_yscale("symlog", linthresh=FLOOR)
    pane.set_ylim(0, 3 * top)
    pane.grid(alpha=0.3)
    pane.spines[["top", "right"]].set_visible(False)
