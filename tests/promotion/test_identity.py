"""What a promotion's results depend on."""

from __future__ import annotations

from pathlib import Path

from promotion.identity import identify, named
from promotion.stage_data import load
from seqconv import read_architecture, write_architecture
from tests.promotion.fakes import SMALL, config


def test_what_was_named_does_not_depend_on_what_the_search_has_found(tmp_path: Path) -> None:
    """A trial may be the same network as a preset today, and no longer be chosen tomorrow."""
    settings = config(presets=[SMALL])
    found = identify(settings, load(settings))["choice"]["others"]
    assert found == {f"preset-{SMALL}": read_architecture(SMALL).fingerprint()}
    write_architecture(read_architecture("cifar_b"), tmp_path / "mine.yaml")
    names = [candidate.name for candidate in named(config(presets=[SMALL], files=[str(tmp_path / "mine.yaml")]))]
    assert names == [f"preset-{SMALL}", "file-mine"]
    assert named(config(presets=[])) == []
