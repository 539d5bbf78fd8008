"""What an architecture's aggregation looks like in numbers, for a predictor. Pure Python: no torch.

Numbers are chosen so that the error may change with them in about equal steps: logarithms of sizes, and shares. They
are read off the adjacency, so every kind of pattern has them all, and two ways to write a network have the same.
"""

from __future__ import annotations

import math
from functools import lru_cache

from seqconv import Architecture
from seqconv.aggregation import Pattern
from seqconv.architecture import FORMS


def features(architecture: Architecture) -> dict[str, float]:
    """Finite numbers by name; architectures of equally many stages have the same names in the same order."""
    found: dict[str, float] = {}
    weights, work, depth = 0.0, 0.0, 0
    sizes = zip(architecture.stages, architecture.groups, strict=True)
    for number, (stage, groups) in enumerate(sizes, start=1):
        layer = _layer(stage.window, groups)
        connections = stage.group_width**2 * layer["pairs"] * groups**2
        own = {
            "blocks": float(stage.blocks),
            "groups": math.log2(groups),
            "group_width": math.log2(stage.group_width),
            "subgroups": math.log2(stage.subgroups),
            **{form: float(stage.form == form) for form in FORMS},
            **layer,
            "weights": math.log2(connections),
        }
        found |= {f"stage{number}.{name}": value for name, value in own.items()}
        weights += stage.blocks * connections
        work += stage.blocks * connections / 4 ** (number - 1)  # a stage has a quarter of the pixels of the one before
        depth += stage.blocks * round(groups * layer["serial"])
    total = {"widening": architecture.widening, "weights": weights, "work": work, "serial": depth}
    return found | {name: math.log2(value) for name, value in total.items()}


@lru_cache(maxsize=4096)
def _layer(pattern: Pattern, groups: int) -> dict[str, float]:
    """Of a layer in a block, which has as many groups in as out. Distances are in its input's groups."""
    adjacency = pattern.adjacency(groups, groups)
    read = [len(row) for row in adjacency.sources]
    distances = [step - source for step, row in enumerate(adjacency.sources, start=1) for source in row]
    return {
        "pairs": adjacency.pairs / groups**2,
        "narrowest": math.log2(min(read)),
        "widest": math.log2(max(read)),
        "mean_reach": sum(distances) / len(distances) / groups,
        "longest_reach": max(distances) / groups,
        "from_input": sum(source <= 0 for row in adjacency.sources for source in row) / adjacency.pairs,
        "unread": len(adjacency.unread) / groups,
        "serial": adjacency.serial_depth / groups,
        "depth": math.log2(adjacency.serial_depth),
    }
