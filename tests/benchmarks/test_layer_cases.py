"""What is saved for backward, and the bars of each case."""

import pytest
import torch
from comparison import Options, Variant
from layer_cases import BOTTLENECK, PLAIN, QUICK_PLAIN, memory, plain, saved_bytes, windows
from torch import Tensor, nn

from seqconv.layers.seqconv import SeqConv2d

QUICK = Options(quick=True, repeats=1)


def test_a_convolution_with_norm_and_activation_saves_three_tensors() -> None:
    module = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    x = torch.randn(4, 8, 5, 5, requires_grad=True)
    statistics = 2 * 8 * 4
    assert saved_bytes(module, x) == 3 * x.nelement() * 4 + statistics


class Twice(nn.Module):
    """Saves two views of one tensor, and a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return (x[:3] * x[3:] * self.scale.detach()).sum()


def test_a_storage_counts_once_and_parameters_do_not() -> None:
    x = torch.randn(6, requires_grad=True)
    assert saved_bytes(Twice(), x) == 6 * 4


def test_the_reference_saves_more_than_the_twin() -> None:
    for rows in memory(QUICK):
        others = [row.saved_inputs for row in rows if row.variant != "reference"]
        assert max(row.saved_inputs for row in rows if row.variant == "reference") > max(others)


def test_the_sizes_and_bars_are_those_that_were_asked_for() -> None:
    assert [(layer.C, layer.k, layer.size, layer.batch, layer.bar) for layer in PLAIN] == [
        (128, 8, 32, 32, 1.25), (256, 8, 16, 32, 1.35), (512, 16, 8, 32, 1.10),
    ]  # fmt: skip
    assert [(layer.C, layer.k, layer.size, layer.batch, layer.bar) for layer in BOTTLENECK] == [
        (64, 8, 32, 64, 1.15), (128, 8, 16, 64, 1.5), (256, 16, 16, 32, 1.4), (512, 64, 28, 32, 1.1),
    ]  # fmt: skip


def test_windows_are_compared_with_the_full_one() -> None:
    (rows,) = windows(QUICK)
    found = {row.window: (row.pairs_ratio, row.bar) for row in rows}
    # Four steps: w = 2 reads 2 + 2 + 2 + 2 groups, w = G = 4 reads 16, dense 4 + 5 + 6 + 7.
    assert found == {"0.5G": (0.5, 1.15 * 0.5), "1G": (1.0, None), "dense": (22 / 16, 1.15 * 22 / 16)}
    assert {row.ratio for row in rows if row.window == "1G"} == {1.0}
    assert {row.variant for row in rows} == {"auto"}


def test_panel_sizes_that_are_asked_for_have_rows_of_their_own() -> None:
    (rows,) = plain(Options(quick=True, repeats=1, panels=(1, 2, 4)))
    found = {(row.variant, row.panel) for row in rows}
    assert found == {
        ("twin", None), ("reference", None), ("blocked", None), ("auto", None),
        *(("blocked_panel", size) for size in (1, 2, 4)),
    }  # fmt: skip
    assert {row.bar for row in rows if row.variant != "auto"} == {None}


def test_a_gpu_takes_more_images_at_a_time() -> None:
    assert [PLAIN[0].images(Options(device=device)) for device in ("cpu", "cuda")] == [32, 256]
    assert QUICK_PLAIN[0].images(Options(device="cuda", quick=True)) == 2


@pytest.mark.parametrize("panel", [1, 2, 4])
def test_a_panel_is_that_of_the_layer(panel: int) -> None:
    layer = QUICK_PLAIN[0].build(Variant("blocked", panel))
    assert isinstance(layer, SeqConv2d)
    assert layer.plan == "blocked"
    assert {stop - start for start, stop in (found.steps for found in layer.panels)} == {panel}


def test_the_reference_is_step_by_step() -> None:
    layer = QUICK_PLAIN[0].build(Variant("reference"))
    assert isinstance(layer, SeqConv2d) and layer.plan == "reference"
