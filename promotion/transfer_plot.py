"""Rank transfer as a figure: error against error, and tau by fidelity under the ceiling that seeds leave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from promotion.rank_correlation import Array, Correlation
from promotion.seed_noise import mean_over_seeds
from promotion.transfer import PROXY, FidelityAgreement, StageAgreement, Transfer, spread

_BLUE, _VERMILION, _GREEN = "#0072B2", "#D55E00", "#009E73"
"""Of the palette of Okabe and Ito, which colour-blind people can tell apart."""
_DPI, _NAMED, _LONGEST_NAME, _MOST_TICKS = 120, 12, 22, 10
_LOG_ABOVE = 16
"""Ratio of the last to the first epoch from which the epochs stand at equal ratios."""
_MARK = 6
"""Half the side of the square, in pixels, that the mark of a point takes."""
_PLACES = [
    (7, 0, "left", "center"), (-7, 0, "right", "center"), (0, 7, "center", "bottom"), (0, -7, "center", "top"),
    (6, 6, "left", "bottom"), (-6, 6, "right", "bottom"), (6, -6, "left", "top"), (-6, -6, "right", "top"),
    (8, 16, "left", "bottom"), (-8, 16, "right", "bottom"), (8, -16, "left", "top"), (-8, -16, "right", "top"),
]  # fmt: skip
"""Where a name may stand: points to the right and up from its mark, and how it is aligned there."""


def plot(path: Path, transfer: Transfer) -> None:
    """Write the figure: a row for each pair of stages; beside the proxy's, how it agrees after each of its epochs.

    Raises:
        ValueError: no stage to compare.
    """
    if not transfer.stages:
        raise ValueError("there is nothing to draw: no stage of full training")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(transfer.stages)
    figure = Figure(figsize=(11.5, 4.8 * rows), dpi=_DPI, layout="constrained")
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    scatters = []
    for (left, right), pair in zip(figure.subplots(rows, 2, squeeze=False), transfer.stages, strict=True):
        scatters.append((left, *_scatter(left, transfer, pair)))
        found = transfer.fidelities[pair.later] if pair.earlier == PROXY else ()
        if any(f.agreement.tau.value is not None for f in found):
            _draw_fidelities(right, found, pair)
        else:
            right.remove()
    figure.draw_without_rendering()  # after it the axes stay where they are, and it is known where names are free
    figure.set_layout_engine("none")
    for axes, names, points, spreads in scatters:
        if len(names) <= _NAMED:
            _name_points(axes, renderer, names, points, spreads)
    figure.savefig(path, dpi=_DPI)


def _scatter(axes: Any, transfer: Transfer, pair: StageAgreement) -> tuple[list[str], Array, Array]:
    """Draws the errors of two stages, in percent; returns names, places and spreads of the points."""
    x, x_spread = _percent(transfer.errors[pair.earlier])
    y, y_spread = _percent(transfer.errors[pair.later])
    both = np.isfinite(x) & np.isfinite(y)
    axes.errorbar(x[both], y[both], xerr=x_spread[both], yerr=y_spread[both], fmt="none", ecolor="0.6", elinewidth=1.2)
    epochs = np.array(transfer.epochs)
    last = max(epochs[both], default=0)
    stopped = both & (epochs < last) & (pair.earlier == PROXY)
    axes.plot(x[both & ~stopped], y[both & ~stopped], "o", color=_BLUE, markeredgecolor="white")
    if stopped.any():
        axes.plot(x[stopped], y[stopped], "o", color="white", markeredgecolor=_BLUE,
                  label=f"stopped before {last} epochs, ranked behind the others")  # fmt: skip
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False, fontsize="small")
    axes.margins(0.12)
    axes.set_xlabel(_label(transfer, pair.earlier))
    axes.set_ylabel(_label(transfer, pair.later))
    axes.set_title(_title(pair), fontsize="medium")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    names = [name for name, there in zip(transfer.names, both, strict=True) if there]
    return names, np.stack([x, y], axis=1)[both], np.stack([x_spread, y_spread], axis=1)[both]


def _label(transfer: Transfer, stage: str) -> str:
    seeds = transfer.errors[stage].shape[1]
    return f"{stage}: error in %" + (f", mean \N{PLUS-MINUS SIGN} std of {seeds} seeds" if seeds > 1 else "")


def _title(pair: StageAgreement) -> str:
    found = pair.agreement
    who = f"{found.n} architectures" + (f", {found.left_out} left out" if found.left_out else "")
    if found.tau.value is None:
        return f"{pair.earlier} \N{RIGHTWARDS ARROW} {pair.later}: {who}\nno rank correlation"
    tau, rho = _shown("tau", found.tau), _shown("rho", found.rho)
    chance = "" if found.tau.low is not None else f"   by chance as high in {found.chance:.0%}"
    return f"{pair.earlier} \N{RIGHTWARDS ARROW} {pair.later}: {who}\n{tau}   {rho}{chance}"


def _draw_fidelities(axes: Any, found: Sequence[FidelityAgreement], pair: StageAgreement) -> None:
    """Tau by epoch of the proxy with its intervals, over the band between what seeds reach and what they leave."""
    from matplotlib.ticker import FixedLocator, NullLocator

    ceiling = pair.agreement.ceiling
    if ceiling.tau.value is not None:
        axes.axhspan(ceiling.tau.value, ceiling.tau_reachable, color=_GREEN, alpha=0.2, linewidth=0,
                     label="ceiling: one seed with another, to a perfect proxy")  # fmt: skip
    drawn = [f for f in found if f.agreement.tau.value is not None]
    epochs = [f.epoch for f in drawn]
    taus = [f.agreement.tau for f in drawn]
    ends = np.array([[tau.value, tau.low, tau.high] for tau in taus], dtype=float).T  # without an interval, NaN
    label = "proxy" if np.isnan(ends[1]).all() else "proxy, 95 % interval"
    if len(drawn) > _MOST_TICKS:
        axes.fill_between(epochs, ends[1], ends[2], color=_VERMILION, alpha=0.2, linewidth=0)
        axes.plot(epochs, ends[0], "o-", color=_VERMILION, markersize=4, label=label)
    else:
        bars = np.maximum(0, [ends[0] - ends[1], ends[2] - ends[0]])  # a value may lie outside a percentile interval
        axes.errorbar(epochs, ends[0], yerr=bars, fmt="o-", color=_VERMILION, elinewidth=1.2, capsize=3, markersize=5,
                      label=label)  # fmt: skip
    if epochs[-1] >= _LOG_ABOVE * epochs[0]:
        axes.set_xscale("log")
    sizes = {f.epoch: f.agreement.n for f in drawn}
    ticks = spread(epochs, _MOST_TICKS)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    differ = len(set(sizes.values())) > 1
    axes.set_xticklabels([f"{epoch}\nn={sizes[epoch]}" if differ else str(epoch) for epoch in ticks])
    axes.set_ylim(min(-0.1, np.nanmin(ends) - 0.05), 1.05)
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xlabel("epochs of the proxy")
    axes.set_ylabel(f"Kendall's tau with {pair.later}")
    axes.set_title(f"agreement of the proxy with {pair.later}, by fidelity", fontsize="medium")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2 if differ else -0.14), ncols=2, frameon=False,
                fontsize="small")  # fmt: skip


def _name_points(axes: Any, renderer: Any, names: Sequence[str], points: Array, spreads: Array) -> None:
    """Write each name where it covers least of the other names, the marks and their bars."""
    from matplotlib.transforms import Bbox

    middle = axes.transData.transform(points)
    reach = np.maximum(_MARK, axes.transData.transform(points + spreads) - middle)
    taken = [Bbox([at - half, at + half]) for at, (x, y) in zip(middle, reach, strict=True)
             for half in ((x, _MARK), (_MARK, y))]  # fmt: skip
    inside = axes.get_window_extent(renderer)
    for name, point in zip(names, points, strict=True):
        text = axes.annotate(_short(name), point, (0, 0), textcoords="offset points", fontsize=7.5, color="0.2")
        costs = []
        for place in _PLACES:
            _put(text, place)
            box = text.get_window_extent(renderer)
            outside = not (inside.contains(*box.min) and inside.contains(*box.max))
            costs.append(sum(box.overlaps(other) for other in taken) + 10 * outside)
        _put(text, _PLACES[int(np.argmin(costs))])
        taken.append(text.get_window_extent(renderer))


def _put(text: Any, place: tuple[float, float, str, str]) -> None:
    right, up, horizontal, vertical = place
    text.set(position=(right, up), horizontalalignment=horizontal, verticalalignment=vertical)


def _percent(errors: Array) -> tuple[Array, Array]:
    """Means and standard deviations over seeds; 0 where there is one seed."""
    seeds = np.isfinite(errors).sum(axis=1)
    means = mean_over_seeds(errors)
    squares = np.where(np.isfinite(errors), (errors - means[:, None]) ** 2, 0).sum(axis=1)
    return 100 * means, 100 * np.sqrt(squares / np.maximum(1, seeds - 1))


def _shown(name: str, found: Correlation) -> str:
    interval = "" if found.low is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{name} {found.value:.2f}{interval}"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:12]}\N{HORIZONTAL ELLIPSIS}{name[-9:]}"
