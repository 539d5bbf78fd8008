"""What `python doctor.py` says and does with folders that were damaged, each gone on with after its repair."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import command_line
import doctor as entry
from searchers.doctor.request import DoctorRequest
from searchers.doctor.visit import visit
from searchers.owned_folder import in_use
from searchers.record import COMPLETED, DRIVER, RUNNING
from searchers.run_folder import RunFolder
from searchers.study import JOURNAL, TrialStore, read_records
from seqconv import read_architecture
from seqconv.serialization import read_yaml, to_yaml
from tests.searchers.doctor import runs
from training import checkpoint

Doctor = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of two objectives that has ended."""
    return runs.ended(tmp_path_factory.mktemp("two") / "run", objective=["error", "params"])


@pytest.fixture
def doctor(run: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Exit code and lines of a visit; without a repair nothing is written."""

    def visited(*, repair: bool = False, folder: Path = run) -> tuple[int, list[str]]:
        before = runs.contents(folder)
        code = visit(DoctorRequest(run=str(folder), repair=repair))
        assert repair or runs.contents(folder) == before
        return code, capsys.readouterr().out.splitlines()

    return visited


def said(lines: list[str]) -> list[str]:
    """What is damaged, with the notes."""
    return [line for line in lines if line.startswith(("damaged: ", "note: "))]


def aside(run: Path) -> dict[str, bytes]:
    """What was set aside, by the place that it was in."""
    (folder,) = run.glob("damaged-*")
    return runs.contents(folder)


def test_a_whole_folder(run: Path, doctor: Doctor) -> None:
    assert doctor() == (0, [f"{run}: 6 trials, the search is not running", "nothing is damaged"])
    before = runs.contents(run)
    assert doctor(repair=True) == (0, [f"{run}: 6 trials", "nothing is damaged"])
    assert runs.contents(run) == before
    assert not in_use(run)


def test_a_folder_of_two_objectives(two: Path, tmp_path: Path, doctor: Doctor) -> None:
    run = Path(shutil.copytree(two, tmp_path / "two"))
    assert doctor(folder=run)[0] == 0
    (name, *_) = sorted(path.name for path in (run / "pareto").iterdir())
    (run / "pareto" / name / "result.yaml").write_text("{")
    shutil.copytree(run / "pareto" / name, run / "pareto" / "0099")
    before = runs.contents(two)
    code, lines = doctor(folder=run, repair=True)
    assert (code, [line.partition(": ")[2].partition(":")[0] for line in said(lines)]) == (
        0,
        [f"pareto/{name}", "pareto/0099"],
    )
    after = runs.contents(run)
    assert {k: v for k, v in after.items() if not k.startswith("damaged-")} == before


def test_a_damaged_journal_is_said_repaired_and_gone_on_with(run: Path, doctor: Doctor) -> None:
    expected = read_records(run)
    damaged = runs.lines(run)
    damaged[8] = b"\0" * 40 + b"\n"
    runs.change(run, lambda _: damaged)
    code, lines = doctor()
    assert code == 1
    assert lines == [
        f"{run}: 6 trials, the search is not running",
        "damaged: study.journal: line 9: it is empty; the line that begins trial 1 is missing",
        "    lost: nothing that another file does not say; 6 trials are there",
        "    repair: is written anew, with the beginning of trial 1 from wandb/trials.jsonl and trials.parquet and "
        "trials/0001",
        f"1 damaged; python doctor.py run={run} repair=true",
    ]
    with pytest.raises(ValueError, match=r"line 9: it is empty$") as error:
        TrialStore(run, runs.SPACE)
    assert f"look at it with python doctor.py run={run}" in str(error.value)
    code, lines = doctor(repair=True)
    (folder,) = run.glob("damaged-*")
    assert (code, lines[-2:]) == (
        0,
        [f"what was replaced is in {folder}", f"repaired; go on with python search.py run={run}"],
    )
    assert aside(run)[JOURNAL] == b"".join(damaged)
    assert [(r.outcome, r.values, r.errors) for r in read_records(run)] == [
        (r.outcome, r.values, r.errors) for r in expected
    ]
    assert doctor()[0] == 0
    assert [record.outcome for record in runs.gone_on_with(run)][5:] == [COMPLETED] * 3


def test_an_empty_journal_is_no_new_search(run: Path, doctor: Doctor) -> None:
    expected = read_records(run)
    (run / JOURNAL).write_bytes(b"")
    with pytest.raises(ValueError, match=r"study.journal: damaged, .*: it ends before trial 0, which has a folder$"):
        TrialStore(run, runs.SPACE)
    assert doctor(repair=True)[0] == 0
    assert [(r.outcome, r.values, r.errors) for r in read_records(run)] == [
        (r.outcome, r.values, r.errors) for r in expected
    ]
    runs.gone_on_with(run)


def test_what_was_cut_off_is_no_damage(run: Path, doctor: Doctor) -> None:
    with (run / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    code, lines = doctor()
    assert (code, said(lines), lines[-1]) == (
        0,
        ["note: study.journal: ends in an entry that was cut off while it was written"],
        "nothing is damaged; 1 note",
    )
    runs.gone_on_with(run)


FILES: list[tuple[str, bytes | None, str, str]] = [
    ("trials/0005/checkpoint.pt", b"", "cannot be read: EOFError", "epochs are trained again"),
    ("trials/0000/checkpoint.pt", b"x" * 99, "cannot be read: ", "nothing: the trial ended"),
    ("trials/0000/model.pt", b"PK\3\4", "cannot be read: ", "the trained weights; the result of the trial is in the"),
    ("trials/0000/metrics.csv", b"epoch,valid", "cannot be read", "nothing: the checkpoint has it all"),
    ("trials/0000/metrics.csv", None, "is missing", "nothing: the checkpoint has it all"),
    ("trials/0000/metrics.csv", b"epoch,validation_error\n1,x\n", "cannot be read", "nothing: the checkpoint has it"),
    ("trials/0000/metrics.csv", b"epoch,validation_error\n2,0.5\n", "cannot be read", "nothing: the checkpoint has"),
    ("trials/0001/architecture.yaml", b"a: [", "cannot be read: ", "nothing: the journal has the architecture"),
    ("trials/0001/architecture.yaml", None, "is missing", "nothing: the journal has the architecture"),
    ("trials.csv", b"trial,", "cannot be read: ", "nothing: it is made from the journal"),
    ("trials.parquet", b"PAR1", "cannot be read: ", "nothing: it is made from the journal"),
    ("best/architecture.yaml", None, "cannot be read: ", "nothing: it is made from the journal"),
    ("best/result.yaml", b"[]", "cannot be read: ", "nothing: it is made from the journal"),
    (
        "config.yaml",
        b"a: [",
        "cannot be read: ",
        "how the last command was given; a search that goes on writes its own",
    ),
    ("environment.yaml", b"7", "is no mapping", "how the last command was given; a search that goes on writes its own"),
]


@pytest.mark.parametrize(("name", "content", "problem", "lost"), FILES)
def test_a_damaged_file(run: Path, doctor: Doctor, name: str, content: bytes | None, problem: str, lost: str) -> None:
    path, expected = run / name, read_records(run)
    path.unlink() if content is None else path.write_bytes(content)
    code, lines = doctor()
    where = name.partition("/")[0] if name.startswith("best") else name
    (line,) = said(lines)
    assert line.startswith(f"damaged: {where}: {problem}")
    assert lines[lines.index(line) + 1].startswith(f"    lost: {lost}") or lost in lines[lines.index(line) + 1]
    assert code == 1
    assert doctor(repair=True)[0] == 0
    if content is not None:
        assert aside(run)[name] == content
    code, lines = doctor()
    assert (code, said(lines)) == (0, [])
    assert read_records(run) == expected
    assert runs.gone_on_with(run)[: runs.OPEN] == expected[: runs.OPEN]


@pytest.mark.parametrize("name", ["trials.csv", "trials.parquet", "best"])
def test_what_is_missing_of_the_results_is_a_note(run: Path, doctor: Doctor, name: str) -> None:
    before = runs.contents(run)
    shutil.rmtree(run / name) if name == "best" else (run / name).unlink()
    code, lines = doctor()
    assert (code, said(lines)) == (0, [f"note: {name}: is missing"])
    assert doctor(repair=True)[0] == 0
    assert runs.contents(run).keys() == before.keys()


def test_tables_that_are_older_than_the_journal(run: Path, doctor: Doctor) -> None:
    store = TrialStore(run, runs.SPACE)
    store.report(runs.OPEN, 2, 0.25)
    store.finish(runs.OPEN, COMPLETED)
    code, lines = doctor()
    assert code == 0
    assert [line for line in said(lines) if "trials." in line] == [
        "note: trials.csv: is older than the journal",
        "note: trials.parquet: is older than the journal",
    ]
    assert doctor(repair=True)[0] == 0
    assert not any("trials." in line for line in said(doctor()[1]))


def test_files_that_another_search_of_the_study_has(tmp_path: Path, doctor: Doctor) -> None:
    about = {"dataset": "digits", DRIVER: {"name": "a", "where": "gpu1:/runs/a"}}
    run = runs.ended(tmp_path / "shared", about=about)
    shutil.rmtree(run / "trials/0003")
    assert doctor(folder=run)[0] == 0
    (run / "trials/0004/model.pt").unlink()
    (run / "trials/0004/architecture.yaml").unlink()
    assert said(doctor(folder=run)[1]) == ["damaged: trials/0004/architecture.yaml: is missing"]


def test_files_of_another_trial(run: Path, doctor: Doctor) -> None:
    records = read_records(run)
    shapes = {number: read_architecture(run / f"trials/{number:04d}/architecture.yaml") for number in (0, 3)}
    assert shapes[0] != shapes[3]
    for name in ("architecture.yaml", "checkpoint.pt", "model.pt"):
        shutil.copy(run / "trials/0003" / name, run / "trials/0000" / name)
    torch.save({"weight": torch.zeros(1)}, run / "trials/0004/model.pt")
    code, lines = doctor()
    assert code == 1
    assert said(lines) == [
        "damaged: trials/0000/architecture.yaml: is of another trial than the journal has here",
        "damaged: trials/0000/checkpoint.pt: is of another architecture",
        "damaged: trials/0000/model.pt: holds the weights of another architecture",
        "damaged: trials/0004/model.pt: holds the weights of another architecture",
    ]
    assert doctor(repair=True)[0] == 0
    assert read_architecture(run / "trials/0000/architecture.yaml") == shapes[0]
    assert read_records(run) == records


def test_metrics_of_which_the_journal_alone_knows(run: Path, doctor: Doctor) -> None:
    for name in ("metrics.csv", "checkpoint.pt"):
        (run / "trials/0000" / name).unlink()
    code, lines = doctor(repair=True)
    assert (code, said(lines)) == (0, ["damaged: trials/0000/metrics.csv: is missing"])
    assert "    lost: its losses and times; the journal has its errors" in lines
    assert (run / "trials/0000/metrics.csv").read_text().splitlines()[0] == "epoch,validation_error"
    assert doctor()[0] == 0


def test_metrics_that_disagree_with_the_journal_are_a_note(run: Path, doctor: Doctor) -> None:
    checkpoint.save_metrics(run / "trials/0000", [{"epoch": e, "validation_error": 0.9} for e in (1, 2)])
    code, lines = doctor()
    assert (code, said(lines)) == (0, ["note: trials/0000/metrics.csv: has other epochs or errors than the journal"])


def test_folders_that_belong_to_no_trial(run: Path, doctor: Doctor) -> None:
    (run / "trials" / "notes").mkdir()
    (run / "trials" / "0042").mkdir()
    (run / "trials" / "0042" / "log.txt").write_text("?")
    code, lines = doctor()
    assert (code, said(lines)) == (
        1,
        [
            "damaged: trials/0042: no trial of the journal has this folder",
            "note: trials/notes: no trial of the journal has this folder",
        ],
    )
    assert doctor(repair=True)[0] == 0
    assert aside(run)["trials/0042/log.txt"] == b"?"
    runs.gone_on_with(run)


def test_what_a_kill_leaves_is_a_note(run: Path, doctor: Doctor) -> None:
    for name in ("best/.result.yaml.77.part", "trials/0005/.checkpoint.pt.77.part"):
        (run / name).write_text("half")
    (run / f"{JOURNAL}.lock").symlink_to(run / JOURNAL)
    code, lines = doctor()
    assert code == 0
    assert [line.removesuffix(": was left by a process that was killed") for line in said(lines)] == [
        "note: best/.result.yaml.77.part",
        f"note: {JOURNAL}.lock",
        "note: trials/0005/.checkpoint.pt.77.part",
    ]
    assert doctor(repair=True)[0] == 0
    assert said(doctor()[1]) == []


def test_what_w_and_b_was_told_is_a_note(run: Path, doctor: Doctor) -> None:
    told = run / "wandb" / "trials.jsonl"
    lines = told.read_bytes().splitlines(keepends=True)
    told.write_bytes(
        b"".join([lines[0], b"\0\0\n", b"[" * 100_000 + b"\n", b'{"event": "log", "trial": 0, "at": 1}\n', *lines[1:]])
    )
    (run / "wandb" / "search.yaml").write_text("a: [")
    code, found = doctor()
    assert code == 0
    first, second = said(found)
    assert first == f"note: wandb/trials.jsonl: 2 of {len(lines) + 3} lines cannot be read, the first is line 2"
    assert second.startswith("note: wandb/search.yaml: cannot be read: ")


def test_a_damaged_description_cannot_be_made_again(run: Path, doctor: Doctor) -> None:
    (run / "run.yaml").write_text("schema: [")
    code, lines = doctor(repair=True)
    assert code == 1
    assert said(lines)[0].startswith("damaged: run.yaml: cannot be read: ")
    assert lines[-1].startswith("still damaged: run.yaml: cannot be read: ")
    assert doctor()[1][-1] == "1 damaged; put back a copy"


@pytest.mark.parametrize("name", ["run.yaml", JOURNAL])
def test_a_folder_of_a_newer_release_is_refused(run: Path, name: str) -> None:
    if name == "run.yaml":
        (run / name).write_text(to_yaml({**read_yaml(run / name), "version": 2}))
    else:
        runs.change(run, lambda lines: [newer(line) for line in lines])
    message = "version 2 is newer than 1, the newest this release reads: upgrade it$"
    for repair in (False, True):
        with pytest.raises(ValueError, match=message):
            visit(DoctorRequest(run=str(run), repair=repair))
    with pytest.raises(ValueError, match=message):
        runs.begun(run)
    assert not list(run.glob("damaged-*"))


def newer(line: bytes) -> bytes:
    from searchers import journal

    entry = journal.parse(line)
    if "schema" in entry.get("user_attr", {}):
        entry["user_attr"]["schema"]["version"] = 2
    return journal.seal(entry)


def test_a_running_search_is_looked_at_and_not_repaired(run: Path, doctor: Doctor) -> None:
    owner = RunFolder(run)
    owner.own()
    (run / "trials" / "0006").mkdir()
    code, lines = doctor()
    assert (code, lines) == (0, [f"{run}: 6 trials, the search is running", "nothing is damaged"])
    message = f"^run={run}: its search is running; repair it once it has ended$"
    with pytest.raises(ValueError, match=message):
        visit(DoctorRequest(run=str(run), repair=True))
    runs.change(run, lambda lines: [*lines[:8], b"\n", *lines[9:]])
    assert doctor()[1][-1] == "1 damaged; repair it once its search has ended"
    owner.close()


def test_it_reads_while_a_search_writes(run: Path, doctor: Doctor) -> None:
    folder, search = runs.begun(run, trials=16)
    writing = threading.Thread(target=runs.go_on, args=(folder, search))
    writing.start()
    visits = 0
    while writing.is_alive():
        lines: list[str] = []
        assert visit(DoctorRequest(run=str(run))) == 0, lines
        visits += 1
    writing.join()
    assert visits > 1
    runs.conclude(folder, search.store.records())
    assert doctor()[0] == 0
    assert [record.outcome for record in read_records(run)].count(RUNNING) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rum", "run={}: no such folder (did you mean run?); run= takes the folder of a search, such as runs/NAME"),
        (
            ".",
            "run={}: neither run.yaml nor study.journal is there; run= takes the folder of a search, such as runs/NAME",
        ),
    ],
)
def test_a_folder_of_no_search(run: Path, name: str, message: str) -> None:
    folder = run.parent / name
    with pytest.raises(ValueError) as error:
        visit(DoctorRequest(run=str(folder)))
    assert str(error.value) == message.format(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"run": 7}, "run must be the path of a folder, such as runs/NAME or ./2024, got 7"),
        ({"run": "a", "repair": "no"}, "repair must be true or false, got 'no'"),
    ],
)
def test_a_request_that_makes_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        DoctorRequest(**settings)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["doctor.py", *arguments])
        return command_line.run(entry.main, config="doctor", description=entry.__doc__)

    monkeypatch.chdir(run.parent)
    (run / "trials.csv").write_bytes(b"\0")
    assert called("run=run") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 damaged; python doctor.py run=run repair=true"
    assert called("run=run", "repair=true") == 0
    capsys.readouterr()
    assert called("run=run", "repair=perhaps") == 2
    assert capsys.readouterr() == ("", "error: repair must be true or false, got 'perhaps'\n")
    assert called("--help") == 0
    assert "  repair=false         true: repair what can be" in capsys.readouterr().out
