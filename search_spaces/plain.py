"""A space from the plain data that identifies it, as a run folder keeps it: the inverse of `to_dict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.fixed import FixedSpace
from search_spaces.space import SearchSpace
from search_spaces.staged import MAX_STAGES, StagedSpace
from seqconv import validation

_KINDS = ("staged", "fixed")


def from_dict(data: Any) -> SearchSpace:
    """The space.

    Raises:
        ValueError: data of no known kind of space, or a key or value that is not allowed.
    """
    validation.has_keys("search_space", data, ("space",))
    kind = validation.one_of("search_space: space", data["space"], _KINDS)
    fields = {key: value for key, value in data.items() if key != "space"}
    if kind == "fixed":
        validation.exact_keys("search_space", fields, ("name", "architecture"))
        return FixedSpace(**fields)
    validation.exact_keys("search_space", fields, ("name", "family", "pyramid", "allow_unread", "genes"))
    return StagedSpace(**_settings(fields.pop("genes")), **fields)


def _settings(genes: Any) -> dict[str, Any]:
    """`stage1.blocks` and so on as the field blocks of the mapping stage1."""
    settings: dict[str, Any] = {}
    for name, gene in validation.has_keys("search_space: genes", genes, ("widening",)).items():
        value = {k: v for k, v in gene.items() if k != "name"} if isinstance(gene, Mapping) else gene
        stage, dot, field = str(name).partition(".")
        if dot:
            settings.setdefault(stage, {})[field] = value
        else:
            settings[stage] = value
    stages = [f"stage{number}" for number in range(1, MAX_STAGES + 1)]
    return dict(validation.exact_keys("search_space: genes", settings, ("widening",), stages))
