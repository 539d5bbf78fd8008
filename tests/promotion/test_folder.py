from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promotion import folder
from promotion.candidates import Candidate
from promotion.folder import BEST_FILE, PromotionFolder, choose, read_candidates
from seqconv import read_architecture
from seqconv.serialization import read_yaml, to_yaml
from tests.promotion.fakes import architecture, candidate

ROOT = Path(__file__).parents[2]
IDENTITY = {
    "choice": {"run": "windowed-ab12", "top": 2, "pareto": None, "others": {}},
    "stages": {"cifar": {"recipe": {"epochs": 2, "milestones": [0.5, 0.75]}, "dataset": {"name": "digits"}}},
    "processes": 1,
}
CHOSEN = [
    candidate(proxy_error=0.25, proxy_errors={1: 0.5, 3: 0.25}, origin={"run": "windowed", "trial": 1, "epochs": 3}),
    Candidate(name="timm-resnet18", timm_name="resnet18", origin={"timm": "resnet18"}),
]


def promotion(path: Path, identity: dict[str, Any] = IDENTITY, candidates: list[Candidate] = CHOSEN) -> Path:
    """A folder of a promotion that has ended."""
    place = PromotionFolder(path)
    place.open(identity, candidates, {})
    place.close()
    return path


def files(of: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(of)): p.read_bytes() if p.is_file() else None for p in of.rglob("*")}


def test_a_new_folder_says_whose_it_is_and_what_was_chosen(tmp_path: Path) -> None:
    place = PromotionFolder(tmp_path / "promotions" / "one")
    place.open(IDENTITY, CHOSEN, {"config": {"seeds": 3}, "environment": {"python": "3.11"}})
    description = read_yaml(place.path / "promote.yaml")
    assert (description.pop("schema"), description.pop("version")) == ("seqconv.promotion", 1)
    assert re.fullmatch("[0-9a-f]{8}", description.pop("id"))
    assert len(description.pop("candidates")) == 2
    assert description == IDENTITY
    assert read_yaml(place.path / "config.yaml") == {"seeds": 3}
    assert read_yaml(place.path / "environment.yaml") == {"python": "3.11"}
    assert read_architecture(place.path / "candidates" / "trial-0001" / "architecture.yaml") == architecture()
    assert not any((place.path / "candidates" / "timm-resnet18").iterdir())


def test_candidates_are_read_back_as_they_were(tmp_path: Path) -> None:
    assert read_candidates(promotion(tmp_path / "one")) == CHOSEN


def test_a_folder_is_taken_over_with_the_files_of_the_new_command(tmp_path: Path) -> None:
    path = promotion(tmp_path / "one")
    before = (path / "promote.yaml").read_bytes()
    place = PromotionFolder(path)
    place.open(IDENTITY, CHOSEN, {"config": {"seeds": 5}})
    assert (path / "promote.yaml").read_bytes() == before
    assert read_yaml(path / "config.yaml") == {"seeds": 5}


def test_where_trainings_lie(tmp_path: Path) -> None:
    place = PromotionFolder(tmp_path)
    assert place.seed("trial-0001", "cifar", 2) == tmp_path / "candidates" / "trial-0001" / "cifar" / "seed-2"
    assert place.stage("trial-0001", "cifar") == tmp_path / "candidates" / "trial-0001" / "cifar"


def test_a_promotion_of_other_settings_names_what_differs(tmp_path: Path) -> None:
    path = promotion(tmp_path / "one")
    before = files(tmp_path)
    other = {**IDENTITY, "processes": 2, "choice": {**IDENTITY["choice"], "others": {"preset-a": "1234"}}}  # type: ignore[dict-item]
    for opening in (
        lambda: choose(str(path), "a", other, CHOSEN),
        lambda: PromotionFolder(path).open(other, CHOSEN, {"config": {}}),
    ):
        with pytest.raises(ValueError) as error:
            opening()
        assert str(error.value) == (
            f"out={path} belongs to another promotion: choice.others is {{}} there and None here; "
            "processes is 1 there and 2 here; choice.others.preset-a is None there and '1234' here. "
            f"Pass another out= or the settings of {path / 'config.yaml'}"
        )
    assert files(tmp_path) == before


class TestChoice:
    """Which folder a command goes on in."""

    def choose(self, root: Path, identity: dict[str, Any] = IDENTITY, candidates: Any = CHOSEN) -> tuple[Path, bool]:
        return choose(None, "windowed", identity, candidates, root)

    def test_a_new_one_is_named_and_not_made(self, tmp_path: Path) -> None:
        path, exists = self.choose(tmp_path / "promotions")
        assert not exists and path.parent == tmp_path / "promotions"
        assert re.fullmatch(r"windowed-\d{8}-\d{6}-[0-9a-f]{4}", path.name)
        assert not any(tmp_path.iterdir())

    def test_the_newest_of_the_same_settings(self, tmp_path: Path) -> None:
        for age, name in enumerate(("newest", "older", "other")):
            identity = IDENTITY if name != "other" else {**IDENTITY, "processes": 2}
            path = promotion(tmp_path / name, identity)
            os.utime(path / "promote.yaml", (1000 - age, 1000 - age))
        assert self.choose(tmp_path) == (tmp_path / "newest", True)
        assert self.choose(tmp_path, {**IDENTITY, "processes": 2}) == (tmp_path / "other", True)
        assert not self.choose(tmp_path, {**IDENTITY, "processes": 3})[1]

    def test_a_search_that_has_gone_on_since(self, tmp_path: Path) -> None:
        """A promotion that is not done keeps its candidates; after one that is done, others begin another."""
        path, now = promotion(tmp_path / "one"), [candidate("trial-0009", blocks=2)]
        assert self.choose(tmp_path, candidates=now) == (path, True)
        (path / BEST_FILE).touch()
        assert not self.choose(tmp_path, candidates=now)[1]
        assert self.choose(tmp_path) == (path, True)
        assert choose(str(path), "windowed", IDENTITY, now) == (path, True)

    def test_what_is_no_promotion_is_passed_over(self, tmp_path: Path) -> None:
        path = promotion(tmp_path / "one")
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "promote.yaml").write_text("schema: other\nversion: 1\n")
        assert self.choose(tmp_path) == (path, True)

    def test_a_folder_that_was_named(self, tmp_path: Path) -> None:
        assert choose(str(tmp_path / "one"), "a", IDENTITY, CHOSEN) == (tmp_path / "one", False)
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / ".lock").touch()
        assert choose(str(tmp_path / "one"), "a", IDENTITY, CHOSEN) == (tmp_path / "one", False)
        promotion(tmp_path / "one")
        assert choose(str(tmp_path / "one"), "a", IDENTITY, CHOSEN) == (tmp_path / "one", True)

    def test_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert choose("~/one", "a", IDENTITY, CHOSEN) == (tmp_path / "one", False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "out={path}: is a file; out= takes a folder"),
        ("full", "out={path}: is not empty and holds no promotion (promote.yaml is missing); pass another out="),
    ],
)
def test_what_is_in_the_way(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(ValueError) as error:
        choose(str(tmp_path / name), "a", IDENTITY, CHOSEN)
    assert str(error.value) == message.format(path=tmp_path / name)


def test_a_folder_that_cannot_be_written() -> None:
    with pytest.raises(OSError, match=r"^out=/proc/seqconv/one: cannot write to /proc: "):
        choose("/proc/seqconv/one", "a", IDENTITY, CHOSEN)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": "seqconv.promotion", "version": 2}, "version 2 is newer than 1, the newest this release"),
        ({"schema": "seqconv.run", "version": 1}, "schema must be 'seqconv.promotion', got 'seqconv.run'"),
        ({"schema": "seqconv.promotion", "version": 1, "id": "ab"}, "missing key 'choice'"),
        ("a: [", "not valid YAML"),
        ({"schema": "seqconv.promotion", "version": 1, "id": "ab", **IDENTITY, "candidates": [],
          "stages": {"../../elsewhere": {}}}, "stages: unknown key '../../elsewhere'; allowed are cifar, imagenet"),
    ],
)  # fmt: skip
def test_a_description_that_is_not_read(tmp_path: Path, content: Any, message: str) -> None:
    path = promotion(tmp_path / "one")
    (path / "promote.yaml").write_text(content if isinstance(content, str) else to_yaml(content))
    with pytest.raises(ValueError, match=f"^{path / 'promote.yaml'}:? {message}"):
        choose(str(path), "a", IDENTITY, CHOSEN)


HOLD = """
import sys
from pathlib import Path
from promotion.folder import PromotionFolder
place = PromotionFolder(Path(sys.argv[1]))
place.open({"choice": {}, "stages": {}, "processes": 1}, [], {})
print("held", flush=True)
sys.stdin.read()
"""


def test_one_promotion_at_a_time_in_a_folder_and_none_after_a_kill(tmp_path: Path) -> None:
    path, identity = tmp_path / "one", {"choice": {}, "stages": {}, "processes": 1}
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError) as error:
            PromotionFolder(path).open(identity, [], {"config": {}})
        reason = "another promotion is running in this folder; wait for it or pass another out="
        assert str(error.value) == f"out={path}: {reason}"
        assert not (path / "config.yaml").exists()
        holder.kill()
    PromotionFolder(path).open(identity, [], {"config": {}})
    assert (path / "config.yaml").is_file()


def test_the_document_names_every_file() -> None:
    assert folder.__doc__ is not None
    for name in (folder.PROMOTION_FILE, folder.BEST_FILE, "result.yaml", "checkpoint.pt", "summary.csv"):
        assert name in folder.__doc__
