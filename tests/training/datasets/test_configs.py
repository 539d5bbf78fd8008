from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from training import datasets

FILES = sorted((Path(__file__).parents[3] / "conf" / "dataset").glob("*.yaml"))


def test_every_kind_has_its_file() -> None:
    targets = [yaml.safe_load(file.read_text())["_target_"] for file in FILES]
    assert sorted(targets) == [f"training.datasets.{kind}" for kind in sorted(datasets.__all__)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_states_the_defaults(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    kind = getattr(datasets, content.pop("_target_").rpartition(".")[2])
    assert kind.name == file.stem
    assert content == {field.name: plain(field.default) for field in fields(kind)}
    assert file.read_text().startswith("# ")


def plain(default: Any) -> Any:
    """As YAML has it."""
    if default is MISSING:
        return "???"
    return list(default) if isinstance(default, tuple) else default
