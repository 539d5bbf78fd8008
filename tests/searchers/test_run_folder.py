from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import seqconv
from searchers.run_folder import RunFolder, check_identity, choose, newest
from seqconv.serialization import read_yaml, to_yaml

ROOT = Path(__file__).parents[2]
IDENTITY = {
    "search_space": {"name": "tiny", "genes": {"stage1.window": {"low": 0.25, "high": 2.0, "step": 0.25}}},
    "dataset": {"name": "digits", "resolution": 16, "mean": [0.1, 0.2, 0.3]},
    "trial": {"epochs": 2, "learning_rate": 0.1},
    "objective": ["error"],
    "seed": 0,
}


def search(path: Path, identity: dict[str, Any] = IDENTITY) -> Path:
    """A folder of a search that has ended."""
    folder = RunFolder(path)
    folder.open(identity, {})
    folder.close()
    return path


def files(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def test_a_new_folder_says_whose_it_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "one")
    folder.open(IDENTITY, {"config": {"trials": 3}, "environment": {"python": "3.11"}})
    run = read_yaml(folder.path / "run.yaml")
    assert (run.pop("schema"), run.pop("version")) == ("seqconv.run", 1)
    assert re.fullmatch("[0-9a-f]{8}", run.pop("id"))
    assert run == IDENTITY
    assert read_yaml(folder.path / "config.yaml") == {"trials": 3}
    assert read_yaml(folder.path / "environment.yaml") == {"python": "3.11"}
    assert sorted(p.name for p in folder.path.iterdir()) == [
        ".lock",
        "config.yaml",
        "environment.yaml",
        "run.yaml",
        "trials",
    ]


def test_a_folder_is_taken_over_with_the_files_of_the_new_command(tmp_path: Path) -> None:
    folder = RunFolder(search(tmp_path / "one"))
    before = read_yaml(folder.path / "run.yaml")
    folder.open(IDENTITY, {"config": {"trials": 5}})
    assert read_yaml(folder.path / "run.yaml") == before
    assert read_yaml(folder.path / "config.yaml") == {"trials": 5}


def test_the_group_names_one_search_alone(tmp_path: Path) -> None:
    first, second = (RunFolder(search(tmp_path / parent / "same")) for parent in ("a", "b"))
    assert first.group.startswith("same-")
    assert first.group != second.group
    assert RunFolder(first.path).group == first.group


def test_the_folder_of_a_trial_has_its_architecture(tmp_path: Path) -> None:
    architecture = seqconv.read_architecture("cifar_b_small")
    folder = RunFolder(search(tmp_path / "one"))
    for _ in range(2):  # the second time as a resumed search does
        folder.begin_trial(7, architecture)
    assert folder.trial(7) == tmp_path / "one" / "trials" / "0007"
    assert seqconv.read_architecture(folder.trial(7) / "architecture.yaml") == architecture


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"trial": {"epochs": 3, "learning_rate": 0.1}}, "trial.epochs is 2 there and 3 here"),
        ({"trial": {"epochs": 2}}, "trial.learning_rate is 0.1 there and None here"),
        ({"trial": IDENTITY["trial"] | {"dropout": 0.5}}, "trial.dropout is None there and 0.5 here"),  # type: ignore[operator]
        (
            {"search_space": {"name": "other", "knobs": 0}, "dataset": {"name": "cifar10"}, "seed": 2},
            "search_space.name is 'tiny' there and 'other' here; "
            "search_space.genes.stage1.window.low is 0.25 there and None here; "
            "search_space.genes.stage1.window.high is 2.0 there and None here; "
            "search_space.genes.stage1.window.step is 0.25 there and None here; "
            "dataset.name is 'digits' there and 'cifar10' here; and 4 more",
        ),
    ],
)
def test_a_search_of_other_settings_names_what_differs(tmp_path: Path, change: dict[str, Any], difference: str) -> None:
    path = search(tmp_path / "one")
    before = files(tmp_path)
    for checking in (
        lambda: check_identity(path, {**IDENTITY, **change}),
        lambda: RunFolder(path).open({**IDENTITY, **change}, {"config": {}}),
    ):
        with pytest.raises(ValueError) as error:
            checking()
        assert str(error.value) == (
            f"run={path} belongs to another search: {difference}. "
            f"Pass another run= or the settings of {path / 'config.yaml'}"
        )
    assert files(tmp_path) == before


OF_AN_EARLIER_RELEASE = {name: setting for name, setting in IDENTITY.items() if name != "objective"}
"""What it minimised was the error."""


def test_a_search_of_an_earlier_release_is_gone_on_with(tmp_path: Path) -> None:
    path = search(tmp_path / "one", OF_AN_EARLIER_RELEASE)
    before = files(tmp_path)
    check_identity(path, IDENTITY)
    assert choose(str(path), True, IDENTITY) == (path, True)
    assert newest(tmp_path, IDENTITY) == path
    assert search(path, IDENTITY) == path
    assert files(tmp_path) == before


def test_a_search_of_an_earlier_release_is_not_gone_on_with_for_something_else(tmp_path: Path) -> None:
    path = search(tmp_path / "one", OF_AN_EARLIER_RELEASE)
    with pytest.raises(ValueError) as error:
        check_identity(path, {**IDENTITY, "objective": ["error", "macs"]})
    assert "belongs to another search: objective is ['error'] there and ['error', 'macs'] here. " in str(error.value)


def test_tuples_and_lists_are_the_same_settings(tmp_path: Path) -> None:
    dataset = {"name": "digits", "resolution": 16, "mean": (0.1, 0.2, 0.3)}
    check_identity(search(tmp_path / "one"), {**IDENTITY, "dataset": dataset})


def test_a_folder_without_a_search_has_no_identity(tmp_path: Path) -> None:
    check_identity(tmp_path / "missing", IDENTITY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": "seqconv.run", "version": 2, "shape": "new"}, "version 2 is newer than 1, the newest this release"),
        ({"schema": "other", "version": 1}, "schema must be 'seqconv.run', got 'other'"),
        ({"seed": 0}, "missing key 'schema'"),
        ({"schema": "seqconv.run", "version": 1, "id": "ab"}, "missing key 'search_space'"),
        ([1], "must be a mapping, got"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_description_that_is_not_read(tmp_path: Path, content: Any, message: str) -> None:
    path = search(tmp_path / "one")
    (path / "run.yaml").write_text(content if isinstance(content, str) else to_yaml(content))
    with pytest.raises(ValueError, match=f"^{path / 'run.yaml'}:? {message}"):
        check_identity(path, IDENTITY)


HOLD = """
import sys
from pathlib import Path
from searchers.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.open({"search_space": {}, "dataset": {}, "trial": {}, "objective": ["error"], "seed": 0}, {})
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_use_is_refused_until_its_process_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "one"
    identity = {"search_space": {}, "dataset": {}, "trial": {}, "objective": ["error"], "seed": 0}
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        before = files(tmp_path)
        with pytest.raises(ValueError) as error:
            RunFolder(path).open(identity, {"config": {}})
        assert str(error.value) == (
            f"run={path}: another search is running in this folder; wait for it or pass another run="
        )
        assert files(tmp_path) == before
        other.kill()
    folder = RunFolder(path)
    folder.open(identity, {})
    with pytest.raises(ValueError, match="another search is running in this folder"):
        RunFolder(path).open(identity, {})
    folder.close()
    RunFolder(path).open(identity, {})


def test_a_new_search_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    chosen = [choose(None, resume, IDENTITY, tmp_path / "runs") for resume in (None, False)]
    for path, exists in chosen:
        assert path.parent == tmp_path / "runs"
        assert re.fullmatch(r"tiny-digits-\d{8}-\d{6}-[0-9a-f]{4}", path.name)
        assert not exists
    assert chosen[0] != chosen[1]
    assert files(tmp_path) == {}


@pytest.mark.parametrize("resume", [None, True])
def test_a_folder_with_a_search_is_gone_on_with(tmp_path: Path, resume: bool | None) -> None:
    path = search(tmp_path / "one")
    assert choose(str(path), resume, IDENTITY) == (path, True)


@pytest.mark.parametrize("resume", [None, False])
@pytest.mark.parametrize("kind", ["missing", "empty", "killed before its first entry"])
def test_a_folder_without_a_search_is_used_for_a_new_one(tmp_path: Path, resume: bool | None, kind: str) -> None:
    path = tmp_path / "one"
    if kind != "missing":
        path.mkdir()
    if kind.startswith("killed"):
        (path / ".lock").touch()
        (path / ".run.yaml.77.part").touch()
    before = files(tmp_path)
    assert choose(str(path), resume, IDENTITY) == (path, False)
    assert files(tmp_path) == before


def test_a_home_folder_may_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert choose("~/one", None, IDENTITY) == (tmp_path / "one", False)


def refused(tmp_path: Path, run: str | None, resume: bool | None) -> str:
    """The message, after a check that nothing was written."""
    before = files(tmp_path)
    with pytest.raises((ValueError, OSError)) as error:
        choose(run, resume, IDENTITY, tmp_path / "runs")
    assert files(tmp_path) == before
    return str(error.value)


def test_a_search_that_is_there_and_must_not_be_resumed(tmp_path: Path) -> None:
    run = str(search(tmp_path / "one"))
    message = f"run={run}: holds a search already and resume=false; pass another run= or resume=true"
    assert refused(tmp_path, run, False) == message


def test_a_search_that_is_not_there_cannot_be_resumed(tmp_path: Path) -> None:
    run = str(tmp_path / "one")
    assert refused(tmp_path, run, True) == (
        f"resume=true: there is no search at run={run} to go on with; leave resume out to begin one"
    )
    search(tmp_path / "runs" / "other", {**IDENTITY, "seed": 1})
    assert refused(tmp_path, None, True) == (
        f"resume=true: there is no search of this command under {tmp_path / 'runs'} to go on with; "
        "leave resume out to begin one"
    )


@pytest.mark.parametrize("resume", [None, True, False])
def test_a_folder_with_other_things_in_it(tmp_path: Path, resume: bool | None) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    assert refused(tmp_path, str(tmp_path / "photos"), resume) == (
        f"run={tmp_path / 'photos'}: is not empty and holds no search (run.yaml is missing); pass another run="
    )


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    assert refused(tmp_path, str(tmp_path / "one"), None) == f"run={tmp_path / 'one'}: is a file; run= takes a folder"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = tmp_path / "file" / "a" / "b"
    assert refused(tmp_path, str(run), None) == f"run={run}: cannot write to {tmp_path / 'file'}: Not a directory"


def test_a_place_that_takes_no_files(tmp_path: Path) -> None:
    """In /proc nobody may write, whereas root may in a folder without the permission."""
    message = refused(tmp_path, "/proc/seqconv/one", None)
    assert message.startswith("run=/proc/seqconv/one: cannot write to /proc: ")


def test_the_newest_search_of_the_command_is_resumed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, written in (("a", 2), ("b", 3), ("c", 1)):
        os.utime(search(runs / name) / "run.yaml", (0, written))
    os.utime(search(runs / "of another seed", {**IDENTITY, "seed": 1}) / "run.yaml", (0, 4))
    damaged = search(runs / "damaged") / "run.yaml"
    damaged.write_text("a: [")
    os.utime(damaged, (0, 5))
    (runs / "no search").mkdir()
    assert choose(None, True, IDENTITY, runs) == (runs / "b", True)
    assert newest(tmp_path / "missing", IDENTITY) is None
