"""Sequentially aggregated convolutions: architectures as data, the layer, the networks. Needs torch alone.

    architecture = seqconv.read_architecture("architecture.yaml")
    model = seqconv.build(architecture, classes=10)

torch is imported only by the names that need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seqconv.adjacency import Adjacency
from seqconv.aggregation import DENSE, Pattern, Window, parse_pattern
from seqconv.architecture import Architecture, Stage
from seqconv.serialization import load, read_architecture, write_architecture

if TYPE_CHECKING:
    from seqconv.complexity import Complexity, measure, measure_module
    from seqconv.conversion import convert
    from seqconv.layers.seqconv import SeqConv2d
    from seqconv.networks.build import build

_NEED_TORCH = {
    "Complexity": "seqconv.complexity",
    "SeqConv2d": "seqconv.layers.seqconv",
    "build": "seqconv.networks.build",
    "convert": "seqconv.conversion",
    "measure": "seqconv.complexity",
    "measure_module": "seqconv.complexity",
}
__all__ = [
    "DENSE", "Adjacency", "Architecture", "Complexity", "Pattern", "SeqConv2d", "Stage", "Window", "build", "convert",
    "load", "measure", "measure_module", "parse_pattern", "read_architecture", "write_architecture",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        return getattr(importlib.import_module(_NEED_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
