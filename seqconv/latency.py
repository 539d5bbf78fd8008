"""How long a network takes for a batch of images, on the machine at hand.

`python -m seqconv.latency PRESET|FILE|FOLDER [--batch 1 64] [--device cuda] [--compiled] [--json]` prints it.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import logging
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seqconv import validation
from seqconv.networks.presets import FAMILIES, PRESETS
from seqconv.serialization import load, read_architecture, read_model

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.benchmark import Measurement

BATCH_SIZES = (1, 64)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time of one forward pass in inference mode and float32, the images being on the device."""

    device: str
    """Name of the processor or the GPU."""
    threads: int
    """CPU threads of torch."""
    resolution: int
    """Side of the square images, in pixels."""
    batch_size: int
    """Images of the pass."""
    compiled: bool
    """By `torch.compile` for this batch, or eager."""
    median_ms: float
    """Milliseconds."""
    iqr_ms: float
    """From the first to the third quartile of the measurements, milliseconds."""
    measurements: int
    """How many there are, each of a pass or several in a row; with one alone `iqr_ms` says nothing."""

    @property
    def images_per_second(self) -> float:
        """That many at the median."""
        return 1000 * self.batch_size / self.median_ms


def measure_latency(
    model: nn.Module,
    resolution: int,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    *,
    device: torch.device | str = "cpu",
    threads: int = 1,
    compiled: bool = False,
    min_run_time: float = 1.0,
) -> list[Latency]:
    """Median times by `torch.utils.benchmark`, for each batch size eager, and where asked for compiled too.

    Args:
        model: maps (N, 3, H, W) images; stays as it is and where it is.
        resolution: side of the square images, in pixels.
        batch_sizes: the N.
        device: where to measure, such as cpu or cuda.
        threads: CPU threads of torch, meanwhile.
        compiled: also by `torch.compile`, for each N anew. On a CPU this takes minutes for networks of this package,
            whose steps are many, and needs a C++ compiler.
        min_run_time: seconds to measure each for, at least; a pass that takes longer is measured once.

    Raises:
        ValueError: an argument out of range, a device that is not there, or a batch that the model or the memory does
            not take.
    """
    validation.integer("resolution", resolution)
    if not batch_sizes:
        raise ValueError(f"batch_sizes must name at least one, got {batch_sizes!r}")
    for size in batch_sizes:
        validation.integer("batch size", size)
    validation.integer("threads", threads)
    validation.boolean("compiled", compiled)
    validation.number("min_run_time", min_run_time, low=0, open_low=True)

    place = _place(device)
    twin = copy.deepcopy(model).to(place).eval()
    how = (False, True) if compiled else (False,)
    measured: list[Latency] = []
    for size, by_compiler in itertools.product(batch_sizes, how):
        try:
            found = _measurement(twin, (size, 3, resolution, resolution), place, threads, by_compiler, min_run_time)
        except Exception as error:  # a compiler raises anything
            what = f"a batch of {size} images of {resolution} px, {_how(by_compiler)}, on {place}"
            raise ValueError(f"latency of {what}: {_first_line(error)}") from error
        measured.append(
            Latency(
                device=_name(place),
                threads=threads,
                resolution=resolution,
                batch_size=size,
                compiled=by_compiler,
                median_ms=1000 * found.median,
                iqr_ms=1000 * found.iqr,
                measurements=len(found.times),
            )
        )
    return measured


def _measurement(
    model: nn.Module,
    shape: tuple[int, ...],
    place: torch.device,
    threads: int,
    compiled: bool,
    min_run_time: float,
) -> Measurement:
    import torch

    # Where there is a CUDA toolkit and no GPU, torch would say so on stderr at this import.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils.benchmark import Timer

    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(place)
    called = torch.compile(model, dynamic=False) if compiled else model
    timer = Timer("model(images)", globals={"model": called, "images": images}, num_threads=threads)
    with torch.inference_mode():
        timer.timeit(1)  # compiles, where that is to be done
        return timer.blocked_autorange(min_run_time=min_run_time)


def _place(device: torch.device | str) -> torch.device:
    import torch

    try:
        place = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # the second of a torch that was built without it
        raise ValueError(f"device {device}: {_first_line(error)}") from None
    if place.type == "meta":
        raise ValueError("device meta: measures nothing, because it computes nothing")
    return place


def _name(place: torch.device) -> str:
    import torch

    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    if place.type != "cpu":
        return str(place)
    return cpu_name()


def cpu_name() -> str:
    """What the processor calls itself."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(models), platform.processor() or platform.machine())


def _how(compiled: bool) -> str:
    return "compiled" if compiled else "eager"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 2 where the input cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        model, resolution = _model(options.model, options.resolution, options.classes)
        named = {name: getattr(options, name) for name in ("device", "threads", "compiled", "min_run_time")}
        measured = measure_latency(model, resolution, options.batch, **named)
    except (ValueError, OSError) as error:
        print(f"error: {_first_line(error)}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([asdict(latency) for latency in measured]))
        return 0
    print(f"{options.model} at {resolution} px on {measured[0].device}, threads on the CPU: {options.threads}")
    print(f"{'batch':>6} {'':>8} {'median ms':>10} {'IQR ms':>10} {'images/s':>10}")
    for latency in measured:
        times = f"{latency.median_ms:>10.2f} {latency.iqr_ms:>10.2f} {latency.images_per_second:>10,.0f}"
        print(f"{latency.batch_size:>6} {_how(latency.compiled):>8} {times}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m seqconv.latency", description=__doc__.splitlines()[0])
    what = f"an exported model folder, an architecture.yaml, or a preset: {', '.join(PRESETS)}"
    parser.add_argument("model", help=what)
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCH_SIZES), help="images (default: 1 64)")
    for name, of in (("resolution", "image side in pixels"), ("classes", "number of classes")):
        parser.add_argument(f"--{name}", type=int, help=f"{of} (default: the folder's, or the family's data set's)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: cpu)")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU (default: 1)")
    parser.add_argument("--compiled", action="store_true", help="by torch.compile too: takes minutes")
    parser.add_argument("--min-run-time", type=float, default=1.0, help="seconds to measure for (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    return parser


def _model(name: str, resolution: int | None, classes: int | None) -> tuple[nn.Module, int]:
    """What to measure, and at which resolution."""
    if Path(name).is_dir():
        if classes is not None:
            raise ValueError(f"{name}: an exported model has its number of classes: leave --classes out")
        own = read_model(name).get("resolution") if resolution is None else resolution
        return load(name), validation.integer(f"{name}: resolution", own)
    architecture = read_architecture(name)
    family = FAMILIES[architecture.family]

    from seqconv.networks.build import build

    model = build(architecture, classes=family.classes if classes is None else classes)
    return model, family.resolution if resolution is None else resolution


if __name__ == "__main__":
    sys.exit(main())
