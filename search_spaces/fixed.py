"""One architecture, as a space without knobs: to train it once, or to try a set-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.knobs import Knob, Value, text
from search_spaces.space import checked_values
from seqconv import Architecture, read_architecture
from seqconv.architecture import SCHEMA, VERSION


@dataclass(frozen=True, kw_only=True)
class FixedSpace:
    """The space of one architecture.

    Raises:
        ValueError: starting with search_space.architecture: no such preset or file, or content that is no architecture.
    """

    architecture: Any
    """Name of a preset, path of a YAML file, or a mapping with widening, pyramid and stages."""
    name: str = "fixed"
    """Short name, for tables."""
    knobs: tuple[Knob, ...] = field(default=(), init=False, repr=False)
    """None."""

    def __post_init__(self) -> None:
        text("search_space.name", self.name)
        try:
            object.__setattr__(self, "architecture", _read(self.architecture))
        except ValueError as error:
            raise ValueError(f"search_space.architecture: {error}") from None

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """The architecture.

        Raises:
            ValueError: any knob, for there is none.
        """
        checked_values(self.knobs, values)
        architecture: Architecture = self.architecture
        return architecture

    def to_dict(self) -> dict[str, Any]:
        """Plain data that identifies the space."""
        return {"space": "fixed", "name": self.name, "architecture": self.architecture.to_dict()}


def _read(source: Any) -> Architecture:
    if isinstance(source, Architecture):
        return source
    if isinstance(source, Mapping):
        return Architecture.from_dict({"schema": SCHEMA, "version": VERSION, **source})
    if not isinstance(source, str) or not source:
        raise ValueError(f"must be a preset's name, a file or a mapping, got {source!r}")
    return read_architecture(source)
