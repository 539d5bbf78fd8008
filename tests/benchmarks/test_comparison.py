"""Ratios, and what is left out where a CUDA graph cannot be had."""

from typing import Any

import pytest
import torch
from comparison import FORMATS, TWIN, Options, Setting, Variant, compared, ratios, timed
from timing import Work
from torch import nn

BLOCKED = Variant("blocked", 4)
ONE, OTHER, GRAPH = Setting("contiguous"), Setting("channels_last"), Setting("channels_last", "graph")


def test_a_ratio_is_best_over_best_in_the_same_execution() -> None:
    costs = {
        (TWIN, ONE): 8.0, (TWIN, OTHER): 4.0, (TWIN, GRAPH): 2.0,
        (BLOCKED, ONE): 6.0, (BLOCKED, OTHER): 9.0, (BLOCKED, GRAPH): 5.0,
    }  # fmt: skip
    assert ratios(costs, TWIN) == {
        (TWIN, "eager"): 1.0, (TWIN, "graph"): 1.0, (BLOCKED, "eager"): 1.5, (BLOCKED, "graph"): 2.5,
    }  # fmt: skip


def test_no_ratio_without_a_reference_in_the_same_execution() -> None:
    assert ratios({(TWIN, OTHER): 4.0, (BLOCKED, GRAPH): 5.0}, TWIN) == {(TWIN, "eager"): 1.0}


def columns(variant: Variant) -> dict[str, Any]:
    macs = 100 if variant == TWIN else 400
    return {"case": "plain", "form": "plain", "C": 16, "k": 4, "size": 8, "batch": 2, "macs": macs}


def test_rows_hold_what_was_measured() -> None:
    measured = {
        (TWIN, ONE): {"ms_median": 4.0, "ms_min": 3.0, "ms_max": 9.0},
        (BLOCKED, ONE): {"ms_median": 6.0, "ms_min": 5.0, "ms_max": 7.0},
        (BLOCKED, OTHER): {"ms_median": 8.0, "ms_min": 2.0, "ms_max": 8.0},
    }
    twin, one, other = compared(measured, reference=TWIN, columns=columns, bars={BLOCKED: 1.25})
    assert (twin.variant, twin.panel, twin.ratio, twin.bar) == ("twin", None, 1.0, None)
    assert (one.variant, one.panel, one.memory_format, one.execution) == ("blocked", 4, "contiguous", "eager")
    assert (one.ms_median, one.ms_min, one.ms_max, one.macs) == (6.0, 5.0, 7.0, 400)
    assert (other.memory_format, other.cost) == ("channels_last", 8.0)
    assert one.ratio == other.ratio == one.judged == 1.5
    assert one.bar == other.bar == 1.25


def test_a_ratio_per_multiply_add() -> None:
    measured = {(TWIN, ONE): {"ms_median": 4.0}, (BLOCKED, ONE): {"ms_median": 8.0}}
    rows = compared(measured, reference=TWIN, columns=columns, bars={}, per_mac=True)
    assert [row.ratio for row in rows] == [1.0, 0.5]


def test_the_bar_of_saved_bytes_is_for_inputs() -> None:
    measured = {(TWIN, ONE): {"saved_inputs": 3.0}, (BLOCKED, ONE): {"saved_inputs": 3.5}}
    row = compared(measured, reference=TWIN, columns=columns, bars={BLOCKED: 4.0})[1]
    assert row.judged == row.cost == 3.5
    assert row.ratio == pytest.approx(3.5 / 3)


class WithGraphs(Options):
    """A GPU's executions on a CPU."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (OTHER, GRAPH)


def test_what_no_graph_can_hold_is_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def work(module: nn.Module, setting: Setting) -> Work:
        if setting == GRAPH and isinstance(module, nn.ReLU):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return Work(run=lambda: None, prepare=lambda: None)

    def make(variant: Variant) -> nn.Module:
        return nn.Identity() if variant == TWIN else nn.ReLU()

    times = timed(make, (TWIN, BLOCKED), work, WithGraphs(repeats=1))
    assert list(times) == [(TWIN, OTHER), (TWIN, GRAPH), (BLOCKED, OTHER)]
    assert all(set(of) == {"ms_median", "ms_min", "ms_max"} for of in times.values())
    assert capsys.readouterr().err == "blocked: no CUDA graph: operation not permitted when stream is capturing\n"


def test_a_failure_without_a_graph_is_a_failure() -> None:
    def work(module: nn.Module, setting: Setting) -> Work:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        timed(lambda _: nn.Identity(), (TWIN,), work, WithGraphs())


def test_modules_and_inputs_are_in_the_setting_s_format() -> None:
    seen = []

    def work(module: nn.Module, setting: Setting) -> Work:
        assert isinstance(module, nn.Conv2d) and module.training
        x = Options().random(2, 3, 4, 4, setting=setting)
        seen.append(setting.memory_format)
        for tensor in (x, module.weight):
            assert tensor.is_contiguous(memory_format=FORMATS[setting.memory_format])
        return Work(run=lambda: None, prepare=lambda: None)

    timed(lambda _: nn.Conv2d(3, 3, 3).eval(), (TWIN,), work, Options(repeats=1))
    assert seen == ["contiguous", "channels_last"]


@pytest.mark.parametrize(("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_bfloat16_is_under_autocast(dtype: str, expected: torch.dtype) -> None:
    with Options(dtype=dtype).autocast():
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == expected


def test_settings_of_both_devices() -> None:
    assert Options().settings == (ONE, OTHER)
    assert Options(device="cuda").settings == (OTHER, GRAPH)
