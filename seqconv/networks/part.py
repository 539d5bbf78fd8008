"""What networks are made of: parts as data."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn


class Part(NamedTuple):
    """A module that is still to be built. Hashable, so that what was measured of one part holds for its equals."""

    kind: type[nn.Module]
    args: tuple[Any, ...]

    def build(self) -> nn.Module:
        """A freshly initialised module."""
        return self.kind(*self.args)
