"""Times of functions that take turns in one process, and the machine that they were taken on."""

from __future__ import annotations

import gc
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from seqconv import validation
from seqconv.native import library

Key = TypeVar("Key", bound=Hashable)

WARM_UP = 2
"""Rounds before the first one that counts."""
_ISAS = {
    "amx_tile": "AVX512_CORE_AMX",
    "avx512_bf16": "AVX512_CORE_BF16",
    "avx512_vnni": "AVX512_CORE_VNNI",
    "avx512bw": "AVX512_CORE",
    "avx_vnni": "AVX2_VNNI",
    "avx2": "AVX2",
    "avx": "AVX",
    "sse4_1": "SSE41",
}
"""Flags of a processor, best first, and how oneDNN calls what it takes from there."""


class Work(NamedTuple):
    """What is timed."""

    run: Callable[[], object]
    prepare: Callable[[], object]
    """Runs before it each time, and is not timed."""


class Times(NamedTuple):
    """Milliseconds over all rounds that count."""

    median: float
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The columns that all rows of a run share."""

    machine: str
    """Operating system, architecture, cores."""
    processor: str
    """The CPU or the GPU that computes."""
    isa: str
    """CPU: what ONEDNN_MAX_CPU_ISA says, or `native: ` and the best the processor has. GPU: its compute capability."""
    library: str
    """What the native plan computes with, AVX512 or AVX2; or why it cannot be taken."""
    torch: str
    """Version."""
    device: str
    """cpu or cuda."""
    threads: int
    """Of torch on the CPU."""
    dtype: str
    """float32, or bfloat16 under autocast."""

    @property
    def name(self) -> str:
        """For the names of files."""
        words = [self.processor, "native" if self.isa.startswith("native") else self.isa, self.dtype]
        if self.threads != 1:
            words.append(f"{self.threads} threads")
        return "_".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words)


def this_machine(device: str, dtype: str) -> Machine:
    """What the benchmark runs on.

    Raises:
        ValueError: an ONEDNN_MAX_CPU_ISA that is not known.
    """
    return Machine(
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        processor=torch.cuda.get_device_name() if device == "cuda" else _processor(),
        isa="sm_{}{}".format(*torch.cuda.get_device_capability()) if device == "cuda" else _isa(),
        library=library.unavailable() or torch.backends.cpu.get_cpu_capability(),
        torch=torch.__version__,
        device=device,
        threads=torch.get_num_threads(),
        dtype=dtype,
    )


def take_turns(
    works: Mapping[Key, Work], *, rounds: int, clock: Callable[[Callable[[], object]], float]
) -> dict[Key, Times]:
    """Each work once a round, in turn forwards and backwards, so that what the machine does meanwhile meets them all.

    Args:
        works: what is compared.
        rounds: those that count; `WARM_UP` more come before them.
        clock: milliseconds of one call.
    """
    times: dict[Key, list[float]] = {key: [] for key in works}
    with _without_garbage_collection():
        for number in range(-WARM_UP, rounds):
            for key in list(works)[:: -1 if number % 2 else 1]:
                works[key].prepare()
                spent = clock(works[key].run)
                if number >= 0:
                    times[key].append(spent)
    return {key: Times(statistics.median(spent), min(spent), max(spent)) for key, spent in times.items()}


def cpu_clock(run: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - began)


def cuda_clock(run: Callable[[], object]) -> float:
    """Milliseconds from the start to the end of one call's work on an idle GPU, gaps between launches included."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    began.record()
    run()
    ended.record()
    torch.cuda.synchronize()
    return float(began.elapsed_time(ended))


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _processor() -> str:
    facts = _cpuinfo()
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{fact} {facts[key]}" for fact, key in (("family", "cpu family"), ("model", "model")) if key in facts]
    return " ".join([name, *numbers])


def _isa() -> str:
    """oneDNN itself ignores a value that it does not know."""
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA")
    if allowed:
        return str(validation.one_of("ONEDNN_MAX_CPU_ISA", allowed.upper(), _ISAS.values()))
    flags = _cpuinfo().get("flags", "").split()
    return "native: " + next((isa for flag, isa in _ISAS.items() if flag in flags), platform.machine())


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    first = path.read_text().partition("\n\n")[0] if path.exists() else ""
    pairs = (line.partition(":")[::2] for line in first.splitlines())
    return {key.strip(): value.strip() for key, value in pairs}
