"""Spaces to test with: those that are delivered, and small ones."""

from pathlib import Path
from typing import Any

import yaml
from hydra.utils import instantiate

from search_spaces.space import SearchSpace
from search_spaces.staged import StagedSpace

FOLDER = Path(__file__).parents[2] / "conf" / "search_space"
DELIVERED = sorted(file.stem for file in FOLDER.glob("*.yaml"))


def settings(option: str) -> dict[str, Any]:
    """The content of conf/search_space/<option>.yaml."""
    return yaml.safe_load((FOLDER / f"{option}.yaml").read_text())


def delivered(option: str) -> SearchSpace:
    """The space that conf/search_space/<option>.yaml makes."""
    return instantiate(settings(option), _convert_="all")


def one_stage(**fields: Any) -> StagedSpace:
    """One stage of 32 channels; `fields` are added to it, or replace what it has."""
    top = {name: fields.pop(name) for name in ("widening", "allow_unread") if name in fields}
    width = {} if "group_width" in fields else {"groups": 4}
    return StagedSpace(name="one", pyramid=(1,), stage1={"blocks": 1, **width, **fields}, **top)


def categorical(*choices: Any, **more: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices), **more}


def integer(low: Any, high: Any, **more: Any) -> dict[str, Any]:
    return {"type": "integer", "low": low, "high": high, **more}


def real(low: Any, high: Any, **more: Any) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, **more}
