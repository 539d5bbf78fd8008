"""Cases of a whole training step: the CIFAR B net's time and peak memory, and seqresnet_b22 against timm's resnet50."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from comparison import (
    AUTO,
    BLOCKED,
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
from torch import nn
from torch.nn import functional as F
from twins import with_twins

from seqconv.architecture import Architecture, Stage
from seqconv.complexity import measure_module
from seqconv.layers.seqconv import SeqConv2d
from seqconv.networks.build import build
from seqconv.networks.presets import preset

RESNET50, SEQRESNET = Variant("resnet50"), Variant("seqresnet_b22")
VARIANTS = (TWIN, REFERENCE, BLOCKED, AUTO)
"""Of the CIFAR B net."""
TIME_BAR, PEAK_BAR = 1.4, 1.3
"""The most that the CIFAR B net may cost against the same network of twins."""
PER_MAC_BAR = 2.0
"""The most that a multiply-add of seqresnet_b22 may cost against one of resnet50: half of its images/s per MAC."""
FIXED_THRESHOLDS = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""Else malloc moves them while it runs and keeps some of what was freed: peaks that differ by 10 % from run to run."""


def network(options: Options) -> Iterator[list[Row]]:
    """The CIFAR B net against the same network with its layers replaced by their parallel twins."""
    batch, size = _images(options), _size(options)
    macs = {variant: measure_module(cifar_b(variant, options), (3, size, size)).macs for variant in VARIANTS}

    def columns(case: str, variant: Variant) -> dict[str, Any]:
        return {"case": case, "form": "bottleneck", "k": 8, "size": size, "batch": batch, "macs": macs[variant]}

    yield compared(
        timed(lambda variant: cifar_b(variant, options), VARIANTS, _training(batch, size, 10, options), options),
        reference=TWIN,
        columns=lambda variant: columns("network", variant),
        bars={AUTO: TIME_BAR},
    )
    peaks: dict[Key, Mapping[str, float]] = {
        (variant, setting): {"peak_mib": _peak(variant, setting, options) / 2**20}
        for variant in VARIANTS
        for setting in options.settings
        if setting.execution == "eager"
    }
    yield compared(
        peaks, reference=TWIN, columns=lambda variant: columns("network_peak", variant), bars={AUTO: PEAK_BAR}
    )


def imagenet(options: Options) -> Iterator[list[Row]]:
    """Training steps at 224 pixels; a ratio of times per multiply-add is the inverse of one of images/s per MAC."""
    import timm

    batch, size = (2, 32) if options.quick else (128, 224)
    make: dict[Variant, Callable[[], nn.Module]] = {
        RESNET50: lambda: timm.create_model("resnet50", num_classes=1000),
        SEQRESNET: lambda: build(preset("seqresnet_b22"), classes=1000),
    }

    def columns(variant: Variant) -> dict[str, Any]:
        with torch.device("meta"):
            macs = measure_module(make[variant](), (3, size, size)).macs
        return {"case": "imagenet", "form": "bottleneck", "size": size, "batch": batch, "macs": macs}

    yield compared(
        timed(lambda variant: make[variant](), tuple(make), _training(batch, size, 1000, options), options),
        reference=RESNET50,
        columns=columns,
        bars={SEQRESNET: PER_MAC_BAR},
        per_mac=True,
    )


def cifar_b(variant: Variant, options: Options) -> nn.Module:
    """The CIFAR B net with k = 8 and one block a stage; W = 4."""
    stage = Stage(blocks=1, group_width=8, form="bottleneck")
    built = build(Architecture(stages=(stage,) * 3, widening=1 if options.quick else 4), classes=10)
    if variant == TWIN:
        return with_twins(built)
    for layer in built.modules():
        if isinstance(layer, SeqConv2d):
            layer.plan = variant.name
    return built


def peak_bytes(variant: Variant, setting: Setting, options: Options) -> int:
    """Bytes by which memory grows at most, in this process, during one training step of the CIFAR B net.

    A step on two images comes first, so that libraries are loaded and gradients are there. On a CPU these are bytes of
    the resident set (Linux). With `FIXED_THRESHOLDS` they agree with what torch's allocator hands out and takes back.
    """
    torch.manual_seed(0)
    module = placed(cifar_b(variant, options), setting, options)
    _training(2, _size(options), 10, options)(module, setting).run()
    work = _training(_images(options), _size(options), 10, options)(module, setting)
    before = _memory(options, peak=False)
    work.run()
    return _memory(options, peak=True) - before


def _peak(variant: Variant, setting: Setting, options: Options) -> int:
    """In an interpreter of its own, because the largest resident set of a process never falls."""
    if options.device == "cuda":
        return peak_bytes(variant, setting, options)
    script = Path(__file__).with_name("training_memory.py")
    arguments = [variant.name, setting.memory_format, options.dtype, *(["--quick"] if options.quick else [])]
    environment = {**os.environ, **FIXED_THRESHOLDS}
    command = [sys.executable, str(script), *arguments]
    return int(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def _memory(options: Options, *, peak: bool) -> int:
    if options.device == "cuda":
        if not peak:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["VmHWM" if peak else "VmRSS"].split()[0])


def _training(batch: int, size: int, classes: int, options: Options) -> Callable[[nn.Module, Setting], Work]:
    """Zero the gradients, forward, cross entropy, backward, SGD with momentum."""

    def work(module: nn.Module, setting: Setting) -> Work:
        images = options.random(batch, 3, size, size, setting=setting)
        labels = torch.randint(classes, (batch,), device=options.device)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
        forward = executed(module, images, setting, options)

        def run() -> None:
            optimizer.zero_grad()
            with options.autocast():
                loss = F.cross_entropy(forward(images), labels)
            torch.autograd.backward(loss)
            optimizer.step()

        return Work(run, lambda: None)

    return work


def _images(options: Options) -> int:
    return 64 if options.quick else 256 if options.device == "cuda" else 64


def _size(options: Options) -> int:
    return 16 if options.quick else 32
