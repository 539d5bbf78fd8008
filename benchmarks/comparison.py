"""Variants of one thing side by side: how they are run, and the rows of the CSV that come out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from timing import Work, cpu_clock, cuda_clock, take_turns
from torch import Tensor, nn

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Variant(NamedTuple):
    """One of the things that are compared."""

    name: str
    """twin; of the layer the plans auto, blocked and reference (step by step), and blocked_panel: blocked with a panel
    size that was asked for."""
    panel: int | None = None
    """Steps in a panel; None where there are none, and in a network, whose layers choose their own."""
    window: str = "1G"
    """The aggregation window."""


class Setting(NamedTuple):
    """How a variant is run."""

    memory_format: str
    """Of its input and its weights: contiguous or channels_last."""
    execution: str = "eager"
    """eager, or graph: replayed from a CUDA graph."""


Key = tuple[Variant, Setting]
TWIN, REFERENCE = Variant("twin"), Variant("reference")
AUTO, BLOCKED = Variant("auto"), Variant("blocked")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of one run of the benchmark."""

    device: str = "cpu"
    """cpu or cuda."""
    dtype: str = "float32"
    """float32, or bfloat16 under autocast."""
    repeats: int = 11
    """Rounds that count."""
    panels: tuple[int, ...] = ()
    """Panel sizes to measure beside the one that each layer chooses."""
    quick: bool = False
    """Tiny sizes, whose times mean nothing: to see that the benchmark runs."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Both memory formats on a CPU; with and without CUDA graph on a GPU."""
        if self.device == "cuda":
            return (Setting("channels_last"), Setting("channels_last", "graph"))
        return tuple(Setting(memory_format) for memory_format in FORMATS)

    def autocast(self) -> AbstractContextManager[Any]:
        """A graph replays what was captured, so no weight that was cast outside may be taken from autocast's cache."""
        is_on, keeps_casts = self.dtype != "float32", self.device != "cuda"
        return torch.autocast(self.device, DTYPES[self.dtype], enabled=is_on, cache_enabled=keeps_casts)

    def random(self, *shape: int, setting: Setting, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normal random numbers."""
        made = torch.randn(shape, device=self.device, dtype=dtype)
        return made.to(memory_format=FORMATS[setting.memory_format])


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one variant in one setting. README.md explains the columns; None where one means nothing."""

    case: str
    form: str
    C: int | None = None
    k: int | None = None
    size: int
    batch: int
    variant: str
    panel: int | None
    window: str
    memory_format: str
    execution: str
    macs: int | None = None
    ms_median: float | None = None
    ms_min: float | None = None
    ms_max: float | None = None
    saved_inputs: float | None = None
    peak_mib: float | None = None
    ratio: float | None
    pairs_ratio: float | None = None
    bar: float | None
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    @property
    def cost(self) -> float:
        """What `ratio` compares."""
        measured = (self.ms_median, self.saved_inputs, self.peak_mib)
        return next(value for value in measured if value is not None)

    @property
    def judged(self) -> float | None:
        """What the bar is for."""
        return self.saved_inputs if self.saved_inputs is not None else self.ratio


def ratios(costs: Mapping[Key, float], reference: Variant) -> dict[tuple[Variant, str], float]:
    """By variant and execution: the best memory format over the reference's best, in the same execution."""
    best: dict[tuple[Variant, str], float] = {}
    for (variant, setting), cost in costs.items():
        key = (variant, setting.execution)
        best[key] = min(cost, best.get(key, cost))
    return {key: cost / best[reference, key[1]] for key, cost in best.items() if (reference, key[1]) in best}


def compared(
    measured: Mapping[Key, Mapping[str, float]],
    *,
    reference: Variant,
    columns: Callable[[Variant], Mapping[str, Any]],
    bars: Mapping[Variant, float],
    per_mac: bool = False,
) -> list[Row]:
    """The rows of what was measured.

    Args:
        measured: columns of each variant in each setting, first the one that ratios compare.
        reference: whose ratio is 1.
        columns: those of a variant that are the same in all settings.
        bars: of the variants that have one.
        per_mac: compare costs divided by multiply-adds.
    """
    costs = {
        (variant, setting): next(iter(values.values())) / (columns(variant)["macs"] if per_mac else 1)
        for (variant, setting), values in measured.items()
    }
    found = ratios(costs, reference)
    return [
        Row(
            variant=variant.name,
            panel=variant.panel,
            window=variant.window,
            **{**setting._asdict(), **values, **columns(variant)},
            ratio=found.get((variant, setting.execution)),
            bar=bars.get(variant),
        )
        for (variant, setting), values in measured.items()
    ]


def timed(
    make: Callable[[Variant], nn.Module],
    variants: Sequence[Variant],
    work: Callable[[nn.Module, Setting], Work],
    options: Options,
) -> dict[Key, dict[str, float]]:
    """Times of each variant in each setting, all in turns; those that no CUDA graph can hold are named and left out."""
    works: dict[Key, Work] = {}
    for variant in variants:
        for setting in options.settings:
            try:
                works[variant, setting] = work(placed(make(variant), setting, options), setting)
            except RuntimeError as error:
                if setting.execution != "graph":
                    raise
                print(f"{variant.name}: no CUDA graph: {str(error).splitlines()[0]}", file=sys.stderr)
    clock = cuda_clock if options.device == "cuda" else cpu_clock
    times = take_turns(works, rounds=options.repeats, clock=clock)
    return {key: {f"ms_{name}": value for name, value in of._asdict().items()} for key, of in times.items()}


def placed(module: nn.Module, setting: Setting, options: Options) -> nn.Module:
    """The module in training mode, where and how it is to run."""
    module.to(options.device).to(memory_format=FORMATS[setting.memory_format])
    return module.train()


def executed(module: nn.Module, sample: Tensor, setting: Setting, options: Options) -> Callable[[Tensor], Tensor]:
    """The module as a function: itself, or its forward and backward pass replayed from CUDA graphs."""
    if setting.execution == "eager":
        return module
    with options.autocast():
        return cast(Callable[[Tensor], Tensor], torch.cuda.make_graphed_callables(module, (sample,)))
