"""The figure of rank transfer, by what stands in it and where."""

import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from promotion.transfer import Transfer, transfer
from promotion.transfer_plot import plot
from tests.promotion.transfers import made

NAN = math.nan


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws, and returns the figure that would be saved."""
    figures = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: figures.append(figure))

    def draw(found: Transfer) -> Any:
        plot(tmp_path / "transfer.png", found)
        return figures[-1]

    return draw


def test_the_file_is_a_picture(tmp_path: Path) -> None:
    plot(tmp_path / "transfer.png", made(5, resamples=5))
    height, width, _ = matplotlib.image.imread(tmp_path / "transfer.png").shape
    assert width > 2 * height > 1000


def boxes(texts: Any) -> list[Any]:
    return [text.get_window_extent() for text in texts]


@pytest.mark.parametrize("n", [3, 8, 12])
def test_names_cover_neither_each_other_nor_the_marks(drawn: Any, n: int) -> None:
    scatter = drawn(made(n, resamples=20)).axes[0]
    names = boxes(scatter.texts)
    assert len(names) == n
    assert not [pair for pair in itertools.combinations(names, 2) if pair[0].overlaps(pair[1])]
    marks = scatter.transData.transform(scatter.lines[0].get_xydata())
    assert not [mark for mark in marks if any(box.contains(*mark) for box in names)]
    frame = scatter.get_window_extent()
    assert all(frame.contains(*box.min) and frame.contains(*box.max) for box in names)


def test_many_points_are_not_named(drawn: Any) -> None:
    assert len(drawn(made(40, resamples=20)).axes[0].texts) == 0


@pytest.mark.parametrize(("n", "stages"), [(3, ("cifar",)), (8, ("cifar", "imagenet")), (40, ("cifar",))])
def test_what_stands_beside_the_axes_does_not_overlap(drawn: Any, n: int, stages: tuple[str, ...]) -> None:
    figure = drawn(made(n, stages=stages, stopped=n // 3, resamples=20))
    around = [
        box.get_window_extent()
        for axes in figure.axes
        for box in (axes.title, axes.xaxis.label, axes.yaxis.label, *filter(None, [axes.get_legend()]))
    ]
    assert not [pair for pair in itertools.combinations(around, 2) if pair[0].overlaps(pair[1])]
    edge = figure.bbox
    assert all(edge.contains(*box.min) and edge.contains(*box.max) for box in around)


def test_errors_are_in_percent_with_the_spread_of_the_seeds(drawn: Any) -> None:
    full = [[0.1, 0.2, NAN], [0.2, 0.2, 0.2], [0.5, NAN, NAN]]
    found = transfer("abc", proxy=[0.3, 0.4, 0.6], proxy_errors=[{}, {}, {}], stages={"cifar": full})
    scatter = drawn(found).axes[0]
    np.testing.assert_allclose(scatter.lines[0].get_xydata(), [[30, 15], [40, 20], [60, 50]])
    vertical = scatter.containers[0].lines[2][1].get_segments()
    half = 100 * np.std([0.1, 0.2], ddof=1)
    np.testing.assert_allclose(vertical[0][:, 1], [15 - half, 15 + half])
    np.testing.assert_allclose([segment[:, 1] for segment in vertical[1:]], [[20, 20], [50, 50]])
    assert (scatter.get_xlabel(), scatter.get_ylabel()) == (
        "proxy: error in %", "cifar: error in %, mean \N{PLUS-MINUS SIGN} std of 3 seeds"
    )  # fmt: skip


def test_the_title_says_how_well_it_agrees(drawn: Any) -> None:
    found = made(8, resamples=20)
    tau, rho = found.stages[0].agreement.tau, found.stages[0].agreement.rho
    assert drawn(found).axes[0].get_title() == (
        "proxy \N{RIGHTWARDS ARROW} cifar: 8 architectures\n"
        f"tau {tau.value:.2f} [{tau.low:.2f}, {tau.high:.2f}]   rho {rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]"
    )


def test_too_few_for_an_interval_are_drawn_without(drawn: Any) -> None:
    found = made(4, resamples=20)
    scatter, by_fidelity = drawn(found).axes
    chance = f"   by chance as high in {found.stages[0].agreement.chance:.0%}"
    assert "[" not in scatter.get_title() and scatter.get_title().endswith(chance)
    assert [text.get_text() for text in by_fidelity.get_legend().get_texts()][-1] == "proxy"
    np.testing.assert_allclose(
        by_fidelity.lines[0].get_ydata(), [f.agreement.tau.value for f in found.fidelities["cifar"]]
    )


def test_what_was_stopped_early_is_hollow(drawn: Any) -> None:
    found = made(8, stopped=3, stages=("cifar", "imagenet"), resamples=20)
    first, *_, last = drawn(found).axes
    assert [len(line.get_xydata()) for line in first.lines] == [5, 3]
    assert first.lines[1].get_markerfacecolor() == "white"
    legend = [text.get_text() for text in first.get_legend().get_texts()]
    assert legend == ["stopped before 9 epochs, ranked behind the others"]
    assert (last.get_title()[:16], last.get_legend()) == ("cifar \N{RIGHTWARDS ARROW} imagenet", None)


def test_agreement_by_fidelity_stands_beside_the_ceiling(drawn: Any) -> None:
    found = made(9, stopped=2, resamples=50)
    axes = drawn(found).axes[1]
    ceiling = found.stages[0].agreement.ceiling
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((ceiling.tau.value, ceiling.tau_reachable))
    points = [(f.epoch, f.agreement.tau.value) for f in found.fidelities["cifar"]]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), points)
    ends = [[f.agreement.tau.low, f.agreement.tau.high] for f in found.fidelities["cifar"]]
    np.testing.assert_allclose([bar[:, 1] for bar in axes.containers[0].lines[2][0].get_segments()], ends)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\nn=9", "3\nn=9", "9\nn=7"]
    assert axes.get_ylim()[0] <= min(low for low, _ in ends) and axes.get_ylim()[1] > 1


def test_of_many_epochs_some_are_marked_on_the_axis(drawn: Any) -> None:
    axes = drawn(made(6, epochs=tuple(range(1, 61)), resamples=20)).axes[1]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert (labels[0], labels[-1], axes.get_xscale()) == ("1", "60", "log")
    assert len(labels) <= 10 and len(axes.lines[0].get_xydata()) == 60
    across = sorted(boxes(axes.get_xticklabels()), key=lambda box: box.x0)
    assert not [pair for pair in itertools.pairwise(across) if pair[0].overlaps(pair[1])]


def test_long_names_are_shortened(drawn: Any) -> None:
    names = ["file-of-a-rather-long-winded-name", "b", "c"]
    full = [[0.1], [0.2], [0.3]]
    found = transfer(names, proxy=[0.1, 0.2, 0.3], proxy_errors=[{}, {}, {}], stages={"cifar": full})
    texts = [text.get_text() for text in drawn(found).axes[0].texts]
    assert texts == ["file-of-a-ra\N{HORIZONTAL ELLIPSIS}nded-name", "b", "c"]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_to_rank_are_drawn_all_the_same(drawn: Any, n: int) -> None:
    by_epoch = [{1: 0.5 + i} for i in range(n)]
    full = {"cifar": [[0.1 + 0.1 * i] for i in range(n)]}
    figure = drawn(transfer("ab"[:n], proxy=[0.5] * n, proxy_errors=by_epoch, stages=full))
    assert len(figure.axes) == 1
    expected = f"proxy \N{RIGHTWARDS ARROW} cifar: {n} architectures\nno rank correlation"
    assert (figure.axes[0].get_title(), len(figure.axes[0].texts)) == (expected, n)


def test_without_a_stage_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^there is nothing to draw: no stage of full training$"):
        plot(tmp_path / "transfer.png", transfer("ab", proxy=[0.1, 0.2], proxy_errors=[{}, {}], stages={}))
    assert not list(tmp_path.iterdir())
