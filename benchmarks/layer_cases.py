"""Cases of one layer: against its parallel twin and step by step, other windows, and what it saves for backward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comparison import (
    AUTO,
    BLOCKED,
    DTYPES,
    REFERENCE,
    TWIN,
    Key,
    Options,
    Row,
    Setting,
    Variant,
    compared,
    executed,
    placed,
    timed,
)
from timing import Work
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from twins import Twin

from seqconv.complexity import measure_module
from seqconv.layers.seqconv import SeqConv2d

WINDOWS = ("0.5G", "1G", "dense")
PAIRS_TOLERANCE = 1.15
"""What a window may cost beyond its number of (step, source) pairs."""
SAVED_BAR = 4.0
"""Inputs' worth that a plain layer may save for backward."""
GPU_BATCH, GPU_BAR = 256, 2.0
"""Images at a time on a GPU, and the most that the ratio to the twin may be there."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of as many channels in as out."""

    form: str
    """plain or bottleneck."""
    C: int
    """Channels."""
    k: int
    """Channels of a group."""
    size: int
    """Height and width of its input."""
    batch: int
    """Images at a time on a CPU."""
    bar: float
    """The most that its ratio to the twin may be on one core of a CPU."""

    def build(self, variant: Variant) -> nn.Module:
        """The variant, freshly initialised."""
        plan = "auto" if variant == TWIN else variant.name.removesuffix("_panel")
        layer = self._seqconv(variant.window, variant.panel, plan)
        return Twin(layer) if variant == TWIN else layer

    def pairs(self, window: str) -> int:
        """N, the number of (step, source) pairs."""
        with torch.device("meta"):
            return self._seqconv(window, None, "auto").adjacency.pairs

    def images(self, options: Options) -> int:
        return GPU_BATCH if options.device == "cuda" and not options.quick else self.batch

    def columns(self, case: str, variant: Variant, options: Options) -> dict[str, Any]:
        """What all settings of a variant have in common."""
        with torch.device("meta"):
            macs = measure_module(self.build(variant), (self.C, self.size, self.size)).macs
        sizes = {"form": self.form, "C": self.C, "k": self.k, "size": self.size, "batch": self.images(options)}
        return {"case": case, "macs": macs, **sizes}

    def input(self, setting: Setting, options: Options) -> Tensor:
        """Activations of the layer before, whose gradient is asked for."""
        shape = (self.images(options), self.C, self.size, self.size)
        return options.random(*shape, setting=setting, dtype=DTYPES[options.dtype]).requires_grad_()

    def _seqconv(self, window: str, panel: int | None, plan: str) -> SeqConv2d:
        sizes: dict[str, Any] = {"group_width": self.k, "pattern": window, "form": self.form}
        return SeqConv2d(self.C, self.C, norm=True, activation=True, plan=plan, panel=panel, **sizes)


PLAIN = (
    Layer(form="plain", C=128, k=8, size=32, batch=32, bar=1.25),
    Layer(form="plain", C=256, k=8, size=16, batch=32, bar=1.35),
    Layer(form="plain", C=512, k=16, size=8, batch=32, bar=1.10),
)
BOTTLENECK = (
    Layer(form="bottleneck", C=64, k=8, size=32, batch=64, bar=1.15),
    Layer(form="bottleneck", C=128, k=8, size=16, batch=64, bar=1.5),
    Layer(form="bottleneck", C=256, k=16, size=16, batch=32, bar=1.4),
    Layer(form="bottleneck", C=512, k=64, size=28, batch=32, bar=1.1),
)
QUICK_PLAIN = (Layer(form="plain", C=16, k=4, size=6, batch=2, bar=1.25),)
QUICK_BOTTLENECK = (Layer(form="bottleneck", C=16, k=4, size=6, batch=2, bar=1.15),)


def plain(options: Options) -> Iterator[list[Row]]:
    """Against conv + BN + ReLU of the same parameters and multiply-adds."""
    return (_against_twin("plain", layer, options) for layer in (QUICK_PLAIN if options.quick else PLAIN))


def bottleneck(options: Options) -> Iterator[list[Row]]:
    """Against 1x1 + BN + ReLU + grouped 3x3 + BN + ReLU of the same parameters and multiply-adds."""
    layers = QUICK_BOTTLENECK if options.quick else BOTTLENECK
    return (_against_twin("bottleneck", layer, options) for layer in layers)


def windows(options: Options) -> Iterator[list[Row]]:
    """Other windows against w = G."""
    return (_against_full_window(layer, options) for layer in (QUICK_PLAIN if options.quick else PLAIN))


def memory(options: Options) -> Iterator[list[Row]]:
    """What is saved for backward. In float32: autocast's copies of weights are no activations."""
    options = replace(options, dtype="float32")
    layers = (*QUICK_PLAIN, *QUICK_BOTTLENECK) if options.quick else (*PLAIN, *BOTTLENECK)
    return (_saved_for_backward(layer, options) for layer in layers)


def _against_twin(case: str, layer: Layer, options: Options) -> list[Row]:
    variants = (TWIN, REFERENCE, BLOCKED, AUTO, *(Variant("blocked_panel", size) for size in options.panels))
    return compared(
        _forward_and_backward(layer, variants, options),
        reference=TWIN,
        columns=lambda variant: layer.columns(case, variant, options),
        bars={AUTO: GPU_BAR if options.device == "cuda" else layer.bar},
    )


def _against_full_window(layer: Layer, options: Options) -> list[Row]:
    full = layer.pairs("1G")
    relative = {AUTO._replace(window=window): layer.pairs(window) / full for window in WINDOWS}
    return compared(
        _forward_and_backward(layer, tuple(relative), options),
        reference=AUTO,
        columns=lambda variant: {
            **layer.columns("windows", variant, options),
            "pairs_ratio": relative[variant],
        },
        bars={variant: PAIRS_TOLERANCE * pairs for variant, pairs in relative.items() if variant.window != "1G"},
    )


def _saved_for_backward(layer: Layer, options: Options) -> list[Row]:
    measured: dict[Key, Mapping[str, float]] = {}
    for variant in (TWIN, REFERENCE, BLOCKED, AUTO):
        for setting in options.settings:
            if setting.execution == "eager":
                module, x = placed(layer.build(variant), setting, options), layer.input(setting, options)
                with options.autocast():
                    measured[variant, setting] = {
                        "saved_inputs": saved_bytes(module, x) / (x.nelement() * x.element_size())
                    }
    return compared(
        measured,
        reference=TWIN,
        columns=lambda variant: layer.columns("memory", variant, options),
        bars={AUTO: SAVED_BAR} if layer.form == "plain" else {},
    )


def saved_bytes(module: nn.Module, x_NCHW: Tensor) -> int:
    """Bytes of the distinct storages that autograd saves in one forward pass, without parameters and buffers."""
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x_NCHW)
    learned = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    return sum(storage.nbytes() for pointer, storage in saved.items() if pointer not in learned)


def _forward_and_backward(layer: Layer, variants: Sequence[Variant], options: Options) -> dict[Key, dict[str, float]]:
    def work(module: nn.Module, setting: Setting) -> Work:
        x = layer.input(setting, options)
        d, leaves = torch.randn_like(x), (x, *module.parameters())
        forward = executed(module, x, setting, options)

        def run() -> None:
            with options.autocast():
                y = forward(x)
            torch.autograd.backward(y, d)

        return Work(run, lambda: forget_gradients(leaves))

    return timed(layer.build, variants, work, options)


def forget_gradients(leaves: Sequence[Tensor]) -> None:
    """So that a backward pass writes gradients instead of adding to them."""
    for leaf in leaves:
        leaf.grad = None
