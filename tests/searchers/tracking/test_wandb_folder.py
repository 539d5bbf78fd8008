from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from searchers.tracking.wandb_folder import Known, WandbFolder

KNOWN = Known(project="p", entity=None, group="one", config={"seed": 0}, sweep={"name": "one", "tiny": 1e-05})
MADE = {"sweep_id": "abc", "sweep_url": "https://wandb.example/abc"}


def test_how_a_search_is_known_reads_back(tmp_path: Path) -> None:
    folder = WandbFolder(tmp_path)
    folder.open(KNOWN)
    assert folder.known() == KNOWN


def test_the_sweep_of_a_search_stays_its_sweep(tmp_path: Path) -> None:
    folder = WandbFolder(tmp_path)
    folder.open(KNOWN)
    folder.write(replace(KNOWN, **MADE))
    folder.open(replace(KNOWN, config={"seed": 1}))
    assert folder.known() == replace(KNOWN, config={"seed": 1}, **MADE)


@pytest.mark.parametrize("other", [{"project": "q"}, {"entity": "team"}])
def test_a_search_in_another_project_gets_another_sweep(tmp_path: Path, other: dict[str, str]) -> None:
    folder = WandbFolder(tmp_path)
    folder.open(KNOWN)
    folder.write(replace(KNOWN, **MADE))
    folder.open(replace(KNOWN, **other))
    assert folder.known().sweep_id is None


@pytest.mark.parametrize("content", ["{", "[]", "project: p\n"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, content: str) -> None:
    folder = WandbFolder(tmp_path)
    folder.open(KNOWN)
    (folder.path / "search.yaml").write_text(content)
    folder.open(KNOWN)
    assert folder.known() == KNOWN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no search that was tracked with tracker=wandb: .*search.yaml is missing$"),
        ("{", "search.yaml: not valid YAML: "),
        ("[]", r"search.yaml must be a mapping, got \[\]$"),
        ("project: p\n", "search.yaml: missing key 'entity'; required are project, entity, group, config, sweep$"),
    ],
)
def test_a_folder_of_no_use_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    folder = WandbFolder(tmp_path)
    folder.path.mkdir()
    if content is not None:
        (folder.path / "search.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        folder.known()
