"""How far back a layer really reads: the aggregation window in which most of its weight lies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from seqconv import validation
from seqconv.aggregation import Window
from seqconv.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.95
"""Of the weight of a layer, that a window has to keep."""
_LAYER = re.compile(r"stage(\d+)_(block\d+|down)\.")


def reach(layer: Tensor, share: float = SHARE) -> int | None:
    """The smallest window, in groups, in which that share of a layer's weight lies; None where it has no weight.

    Args:
        layer: what `seqconv.utilisation.utilisation` gives, (g, G + g).
        share: of the sum of its cells, in (0, 1].

    Raises:
        ValueError: a share out of range.
    """
    import torch

    validation.number("share", share, low=0, high=1, open_low=True)
    steps, columns = layer.shape
    # Step i is row i - 1, group j is column j + G - 1, and j lies i - j groups before i.
    distances = torch.arange(steps)[:, None] - torch.arange(columns) + columns - steps
    read = ~layer.isnan()
    weight = torch.zeros(columns, dtype=layer.dtype).index_add(0, distances[read] - 1, layer[read]).cumsum(0)
    if not weight[-1] > 0:
        return None
    # A sum in another order may be off in its last digits, which must not cost a window of everything a group.
    return int((weight >= weight[-1] * share * (1 - 1e-9)).int().argmax()) + 1


def stage_reach(architecture: Architecture, layers: Mapping[str, Tensor], share: float = SHARE) -> list[int | None]:
    """The reach of each stage: of those of the layers that have its window, the largest.

    None where the stage's pattern is not a window, or nothing has weight.

    Args:
        architecture: of the network.
        layers: its layers by name, what `seqconv.utilisation.utilisations` gives.
        share: see `reach`.
    """
    found: list[int | None] = [None] * len(architecture.stages)
    for name, layer in layers.items():
        if match := _LAYER.match(name):
            # The layer that grows to the next stage's width has the window of the stage before.
            stage = int(match[1]) - (2 if match[2] == "down" else 1)
            own = reach(layer, share) if isinstance(architecture.stages[stage].window, Window) else None
            found[stage] = max(filter(None, (found[stage], own)), default=None)
    return found
