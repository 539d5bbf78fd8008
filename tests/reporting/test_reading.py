from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from reporting.reading import read_runs
from reporting.runs import ENDED, GOING, STOPPED, Run, Trial
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, RUNNING
from searchers.run_folder import RunFolder
from tests.reporting.conftest import TRIALS
from tests.reporting.simulated import leave_open, simulate


def read(folder: Path) -> Run:
    (run,), refused = read_runs([folder])
    assert not refused
    return run


def test_what_a_search_left_behind(one: list[Run], folder: Path) -> None:
    run = one[0]
    assert (run.index, run.name, run.path, run.state, run.problems) == (0, "first", folder, ENDED, [])
    assert (run.description["dataset"]["name"], run.settings["trials"]) == ("cifar10", TRIALS)
    assert run.objectives == ("error",)
    assert [trial.record.number for trial in run.trials] == list(range(TRIALS))
    assert all(trial.architecture is not None for trial in run.trials)
    outcomes = {trial.record.outcome for trial in run.trials}
    assert {COMPLETED, PRUNED, FAILED} <= outcomes
    assert {trial.record.outcome for trial in run.trained} == {COMPLETED, PRUNED}
    for trial in run.trials:
        if trial.record.outcome != DUPLICATE:
            assert [row["epoch"] for row in trial.metrics] == list(trial.record.errors)
            assert [row["validation_error"] for row in trial.metrics] == list(trial.record.errors.values())


def test_a_search_that_runs(copy: Path) -> None:
    search = RunFolder(copy)
    search.own()
    leave_open(copy)
    try:
        run = read(copy)
    finally:
        search.close()
    assert (run.state, run.trials[-1].record.outcome) == (GOING, RUNNING)
    assert run.trained[-1].record.errors == {1: 0.75}
    assert read(copy).state == STOPPED


def test_looking_leaves_nothing_behind(copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    read(copy)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    (copy / ".lock").unlink()
    assert read(copy).state == ENDED
    assert not (copy / ".lock").exists()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"config.yaml": "a: ["}, r"config.yaml: .*config.yaml: not valid YAML"),
        ({"config.yaml": "- 1"}, "config.yaml: must be a mapping, got list"),
        ({"environment.yaml": None}, "environment.yaml: .*No such file"),
        ({"run.yaml": "schema: seqconv.run\nversion: 9"}, "run.yaml: .*version 9 is newer than 1"),
        ({"run.yaml": "\0"}, "run.yaml: .*not valid YAML"),
        ({"trials/0007/metrics.csv": "epoch,seconds\n1,x\n"}, r"trials/0007/metrics.csv: could not convert .*'x'"),
        ({"trials/0007/metrics.csv": "a,b\n1,2\n"}, r"trials/0007/metrics.csv: no column epoch"),
        ({"trials/0007/metrics.csv": "epoch\n1,2,3\n"}, r"trials/0007/metrics.csv: .*"),
        ({"trials/0007/metrics.csv": b"\xff\xfe\x00"}, r"trials/0007/metrics.csv: .*codec can't decode"),
    ],
)
def test_a_damaged_file_is_named_and_skipped(copy: Path, damage: dict[str, str | bytes | None], problem: str) -> None:
    import re

    for name, content in damage.items():
        if content is None:
            (copy / name).unlink()
        elif isinstance(content, bytes):
            (copy / name).write_bytes(content)
        else:
            (copy / name).write_text(content)
    run = read(copy)
    assert len(run.trials) == TRIALS
    (found,) = run.problems
    assert re.match(problem, found)
    assert "\n" not in found
    assert run.trials[7].metrics == () if "0007" in problem else run.trials[7].metrics


def test_a_damaged_store_is_replaced_by_the_table(copy: Path, one: list[Run]) -> None:
    lines = (copy / "study.journal").read_text().splitlines(keepends=True)
    lines[20] = lines[20][:30] + "\n"
    (copy / "study.journal").write_text("".join(lines))
    for table in ("trials.parquet", "trials.csv"):
        run = read(copy)
        (problem,) = run.problems
        assert problem.startswith("study.journal: ")
        assert problem.endswith(f". What is shown comes from {table}, without what was begun since")
        for found, original in zip(run.trials, one[0].trials, strict=True):
            assert found.architecture == original.architecture or original.record.outcome == DUPLICATE
            assert (found.record.outcome, found.record.values) == (original.record.outcome, original.record.values)
            assert found.record.errors == pytest.approx(dict(original.record.errors))
            assert found.record.measures() == pytest.approx(original.record.measures())
        (copy / table).unlink()
    with pytest.raises(ValueError) as error:
        read_runs([copy])
    assert str(error.value).startswith(f"run={copy}: study.journal: ")
    assert "and there is no table in its place: trials.parquet: " in str(error.value)


def test_a_row_of_the_table_that_is_damaged(copy: Path) -> None:
    (copy / "study.journal").write_text("{\n{}\n")
    (copy / "trials.parquet").unlink()
    (copy / "trials" / "0003" / "architecture.yaml").write_text("a: [")
    lines = (copy / "trials.csv").read_text()
    (copy / "trials.csv").write_text(lines.replace('"{""1"": ', '"{""1"": x', 1))
    run = read(copy)
    architecture, row, _ = sorted(run.problems)
    assert row.startswith("row of trial 0 in the table: JSONDecodeError ")
    assert "0003/architecture.yaml: not valid YAML" in architecture
    assert not any("\n" in problem for problem in run.problems)
    assert [trial.record.number for trial in run.trials] == list(range(1, TRIALS))
    assert run.trials[2].architecture is None


def unsealed(folder: Path) -> str:
    """The journal as earlier releases wrote it, without the checksums that a change of it would show in."""
    return re.sub(r',"crc":\d+}', "}", (folder / "study.journal").read_text())


def test_a_trial_whose_numbers_are_none(copy: Path) -> None:
    text = unsealed(copy)
    (copy / "study.journal").write_text(text.replace('"macs":', '"macs":"x","lost":', 1))
    run = read(copy)
    assert run.problems == ["trial 0: could not convert string to float: 'x'"]
    assert [trial.record.number for trial in run.trials] == list(range(1, TRIALS))


def test_an_architecture_that_cannot_be_read(copy: Path) -> None:
    text = unsealed(copy)
    (copy / "study.journal").write_text(text.replace('"family":"cifar"', '"family":"svhn"', 1))
    run = read(copy)
    assert run.problems == ["trial 0: family must be one of cifar, imagenet, got 'svhn'"]
    assert run.trials[0].architecture is None
    assert len(run.trials) == TRIALS


def test_a_folder_that_is_no_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        read_runs([folder.parent / "frist"])
    assert str(error.value) == (
        f"run={folder.parent / 'frist'}: no such folder (did you mean first?); run= takes the folder of a search, "
        f"such as runs/NAME"
    )
    with pytest.raises(ValueError, match=rf"^{tmp_path}: no study.journal there; run= takes the folder of a search"):
        read_runs([tmp_path])
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"^run={tmp_path / 'file'}: no such folder; run= takes"):
        read_runs([tmp_path / "file"])


def test_one_folder_that_is_no_run_leaves_the_others(folder: Path, other: Path, tmp_path: Path) -> None:
    runs, refused = read_runs([folder, tmp_path, other])
    assert [(run.index, run.name) for run in runs] == [(0, "first"), (1, "second")]
    assert refused == [f"{tmp_path}: no study.journal there; run= takes the folder of a search, such as runs/NAME"]


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a/x/run", "b/x/run", "b/y/run", "c")]
    for folder in folders:
        shutil.copytree(simulate(tmp_path / "one" / str(folders.index(folder)), trials=0), folder)
    assert [run.name for run in read_runs(folders)[0]] == ["a/x/run", "b/x/run", "y/run", "c"]


@pytest.mark.parametrize("name", ["study.journal", "trials.parquet", "trials.csv", "trials/0000/metrics.csv"])
def test_whatever_is_damaged_there_is_a_run_or_a_reason(copy: Path, name: str) -> None:
    rng, whole = random.Random(name), (copy / name).read_bytes()
    if name.startswith("trials."):
        (copy / "study.journal").write_text("{\n{}\n")
        (copy / "trials.parquet").write_bytes(whole if name == "trials.parquet" else b"")
    for _ in range(12):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 3, 30])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (copy / name).write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            run = read(copy)
        except ValueError as error:
            assert str(copy) in str(error)
        else:
            assert all(isinstance(trial, Trial) for trial in run.trials)


def test_a_folder_that_one_may_not_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert read(folder).state == ENDED
