"""A journal that was damaged in any way, and what is made of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchers import journal
from searchers.doctor.description import Description, describe
from searchers.doctor.rebuild import LOST, Rebuilt, rebuild
from searchers.doctor.witness import Witnesses
from searchers.population import PopulationBasedTraining
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.study import JOURNAL, read_records
from seqconv.architecture import NewerVersion
from tests.searchers.doctor import runs
from training import checkpoint

OPEN = runs.OPEN
Damage = Callable[[bytes], bytes]
DAMAGE: dict[str, Damage] = {
    "zeros": lambda line: b"\0" * (len(line) - 1) + b"\n",
    "a flipped bit": lambda line: line.replace(b'"worker_id":"', b'"worker_id":"#', 1),
    "no JSON": lambda line: line[:30] + b"\xff\n",
    "gone": lambda line: b"",
    "no end": lambda line: line[:-1],
}


def rebuilt(folder: Path, content: bytes | None = None) -> Rebuilt:
    found = (folder / JOURNAL).read_bytes() if content is None else content
    description = describe(folder)
    return rebuild(found, description, Witnesses(folder, description))


def known(record: TrialRecord) -> TrialRecord:
    """Without times, which are not all in other files."""
    facts = {k: v for k, v in record.facts.items() if k not in ("waited", "tracked", "started", "finished", "seconds")}
    return TrialRecord(**{**vars(record), "facts": facts})


def assert_same(found: list[TrialRecord], expected: list[TrialRecord]) -> None:
    assert [known(record) for record in found] == [known(record) for record in expected]


def test_a_whole_journal_stays_as_it_is(run: Path) -> None:
    before = (run / JOURNAL).read_bytes()
    found = rebuilt(run)
    assert (found.problems, found.made, found.lost, found.cut_off) == ([], [], [], False)
    assert found.records == read_records(run)
    # Optuna begins the study once more at every start, which says nothing.
    begun = before.splitlines(keepends=True)
    assert found.content == b"".join([begun[0], *(line for line in begun[1:] if b'"op_code":0,' not in line)])


@pytest.mark.parametrize("damage", DAMAGE)
def test_any_one_line_is_made_again(run: Path, damage: str) -> None:
    """Tables and what W&B was told have all that a line said."""
    expected, lines = read_records(run), runs.lines(run)
    every = 1 if damage in ("zeros", "gone") else 3
    for position, line in list(enumerate(lines))[::-every]:
        changed = [*lines[:position], DAMAGE[damage](line), *lines[position + 1 :]]
        found = rebuilt(run, b"".join(changed))
        repeated = position > 0 and b'"op_code":0,' in line
        of_the_study = position in (1, 2)
        assert bool(found.problems) != ((repeated or of_the_study) and damage == "gone"), (position, found.problems)
        assert found.cut_off == (position == len(lines) - 1 and damage == "no end")
        assert_same(found.records, expected)
        assert found.lost == []


def test_a_rebuilt_journal_is_whole(run: Path) -> None:
    lines = runs.lines(run)
    found = rebuilt(run, b"".join(DAMAGE["zeros"](line) if i % 3 == 1 else line for i, line in enumerate(lines)))
    assert found.problems
    assert found.content is not None
    again = rebuilt(run, found.content)
    assert (again.problems, again.content, again.records) == ([], found.content, found.records)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\0" * 4096 + b"\n"])
def test_a_journal_of_which_nothing_is_left(run: Path, content: bytes) -> None:
    expected = read_records(run)
    assert_same(rebuilt(run, content).records, expected)


def test_a_journal_that_has_lost_its_end_at_a_line(run: Path) -> None:
    expected, lines = read_records(run), runs.lines(run)
    for kept in range(0, len(lines), 4):
        assert_same(rebuilt(run, b"".join(lines[:kept])).records, expected)


def without_views(run: Path) -> None:
    for name in ("trials.csv", "trials.parquet", "wandb/trials.jsonl"):
        (run / name).unlink()


def test_the_folder_of_a_trial_alone_says_what_it_trained(run: Path) -> None:
    """Not how the trial ended: an open trial goes on from its checkpoint to the same end."""
    expected, lines = read_records(run), runs.lines(run)
    without_views(run)
    begins = [i for i, line in enumerate(lines) if b'"op_code":4,' in line]
    for number, position in enumerate(begins):
        found = rebuilt(run, b"".join([*lines[:position], *lines[position + 1 :]]))
        assert found.problems == [f"the line that begins trial {number} is missing"]
        assert found.made == [f"the beginning of trial {number} from trials/{number:04d}"]
        same = ("fingerprint", "architecture", "params", "dataset")
        for record, before in zip(found.records, expected, strict=True):
            assert (record.outcome, record.errors) == (before.outcome, before.errors)
            assert {name: record.facts[name] for name in same} == {name: before.facts[name] for name in same}
    emptied = rebuilt(run, b"")
    assert [record.outcome for record in emptied.records] == [RUNNING] * len(expected)
    assert [record.fingerprint for record in emptied.records] == [record.fingerprint for record in expected]


def test_a_trial_of_which_nothing_is_left_keeps_its_place(run: Path) -> None:
    """Those after it would take its results otherwise."""
    expected, lines = read_records(run), runs.lines(run)
    without_views(run)
    shutil.rmtree(run / "trials" / "0003")
    begin = next(i for i, line in enumerate(lines) if b'"number":3' in line)
    found = rebuilt(run, b"".join([*lines[:begin], *lines[begin + 1 :]]))
    assert_same([r for r in found.records if r.number != 3], [r for r in expected if r.number != 3])
    lost = found.records[3]
    assert (lost.outcome, lost.values, lost.errors, lost.facts["reason"]) == (REFUSED, {}, {}, LOST)
    assert found.lost == [f"trial 3: {LOST}"]


def test_a_journal_of_an_earlier_release_is_whole(run: Path) -> None:
    expected = read_records(run)
    runs.unsealed(run)
    assert read_records(run) == expected
    found = rebuilt(run)
    assert (found.problems, found.records) == ([], expected)


@pytest.mark.parametrize("damage", ["zeros", "no JSON", "gone", "no end"])
def test_any_one_line_of_an_earlier_release_is_made_again(run: Path, damage: str) -> None:
    """A line that begins a trial, and of which nothing is left, is missed only where a later one tells of it."""
    expected = read_records(run)
    runs.unsealed(run)
    lines = runs.lines(run)
    for position, line in enumerate(lines[:-1]):
        if b'"op_code":4,' in line and damage in ("zeros", "gone"):
            continue
        found = rebuilt(run, b"".join([*lines[:position], DAMAGE[damage](line), *lines[position + 1 :]]))
        assert_same(found.records, expected)


def test_a_line_that_another_line_ran_into(run: Path) -> None:
    """As a version would leave it that did not clear what was cut off before it wrote on."""
    expected, lines = read_records(run), runs.lines(run)
    found = rebuilt(run, b"".join([*lines[:9], lines[9][:40], *lines[9:]]))
    assert found.problems == ["line 10: its checksum is not that of its content"]
    assert found.records == expected


def entry(**fields: Any) -> bytes:
    return journal.seal({"worker_id": "a", **fields})


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        (entry(op_code=0, study_name="other", directions=[1]), "of another study"),
        (entry(op_code=2, study_id=1, user_attr={"a": 1}), "of another study"),
        (
            entry(op_code=2, study_id=0, user_attr={"schema": {"schema": "other", "version": 1}}),
            "study.journal: schema must be 'seqconv.study', got 'other'",
        ),
        (entry(op_code=7, trial_id=10**9, step=1, intermediate_value=0.5), "of trial 1000000000, which is not there"),
        (
            json.dumps({"op_code": 7, "worker_id": "a", "trial_id": 7, "step": 1, "intermediate_value": 0.5}).encode()
            + b"\n",
            "of trial 7, which is not there",
        ),
    ],
)
def test_what_is_of_nothing_in_this_search_is_dropped(run: Path, extra: bytes, problem: str) -> None:
    found = rebuilt(run, (run / JOURNAL).read_bytes() + extra)
    assert found.problems == [f"line {len(runs.lines(run)) + 1}: {problem}"]
    assert found.records == read_records(run)


def test_a_trial_that_begins_twice_counts_once(run: Path) -> None:
    lines = runs.lines(run)
    begin = next(line for line in lines if b'"number":3' in line)
    found = rebuilt(run, b"".join([*lines, begin]))
    assert found.problems == [f"line {len(lines) + 1}: begins trial 3 after 6 trials"]
    assert found.records == read_records(run)


def test_what_optuna_cannot_read_is_dropped(run: Path) -> None:
    lines = runs.lines(run)
    begin = json.loads(next(line for line in lines if b'"number":5' in line))
    del begin["crc"]
    begin["user_attrs"]["number"] = 6
    begin["distributions"] = dict.fromkeys(begin["distributions"], "{}")
    found = rebuilt(run, b"".join([*lines, journal.seal(begin)]))
    assert found.problems == [f"line {len(lines) + 1}: Optuna cannot read it: KeyError 'type'"]
    assert found.records == read_records(run)


def test_a_newer_release_is_not_taken_for_damage(run: Path) -> None:
    newer = entry(op_code=2, study_id=0, user_attr={"schema": {"schema": "seqconv.study", "version": 2}})
    message = "^study.journal: version 2 is newer than 1, the newest this release reads: upgrade it$"
    with pytest.raises(NewerVersion, match=message):
        rebuilt(run, (run / JOURNAL).read_bytes() + newer)


def test_without_a_description_the_whole_lines_are_kept(run: Path) -> None:
    expected, lines = read_records(run), runs.lines(run)
    changed = b"".join([*lines[:9], DAMAGE["zeros"](lines[9]), *lines[10:]])
    found = rebuild(changed, Description(), Witnesses(run, Description()))
    assert_same(found.records, expected)


def ends(folder: Path, **changes: Any) -> list[TrialRecord]:
    return read_records(runs.ended(folder, **changes))


def test_what_was_measured_and_the_limits_that_it_broke_are_made_again(tmp_path: Path) -> None:
    folder, search = runs.begun(
        tmp_path / "run", objective=["error", "latency"], limits={"latency": 5.0}, trials=2, told=False
    )
    for latency in (2.5, 6.0):
        assignment = search.propose()
        assert assignment is not None
        search.on_measured(assignment.number, {"latency": latency})
        runs.train(folder, search, assignment.architecture, assignment.number)
        search.on_end(assignment.number)
    expected = search.store.records()
    runs.conclude(folder, expected, ("error", "latency"))
    assert expected[1].facts["violations"] == {"latency": pytest.approx(0.2)}
    lines = runs.lines(tmp_path / "run")
    for position in range(3, len(lines)):
        found = rebuilt(tmp_path / "run", b"".join([*lines[:position], *lines[position + 1 :]]))
        assert_same(found.records, expected)


def test_duplicates_and_refused_trials_are_made_again(tmp_path: Path) -> None:
    from search_spaces.budget import Budget
    from tests.searchers.runtime import TWO_ARCHITECTURES

    folder, search = runs.begun(tmp_path / "a", TWO_ARCHITECTURES, trials=2)
    runs.conclude(folder, runs.go_on(folder, search))
    folder, search = runs.begun(tmp_path / "b", budget=Budget(params=(None, 6000)), trials=3)
    runs.conclude(folder, runs.go_on(folder, search))
    for run, outcome in ((tmp_path / "a", DUPLICATE), (tmp_path / "b", REFUSED)):
        expected, lines = read_records(run), runs.lines(run)
        positions = [i for i, line in enumerate(lines) if f'"outcome":"{outcome}"'.encode() in line]
        assert positions
        for position in positions[:4]:
            found = rebuilt(
                run, b"".join([*lines[:position], DAMAGE["zeros"](lines[position]), *lines[position + 1 :]])
            )
            made = found.records[json.loads(lines[position])["user_attrs"]["number"]]
            # A search that goes on answers an open duplicate, as it does one that a kill left.
            assert made.outcome == (RUNNING if outcome == DUPLICATE else outcome)
            assert made.values == expected[made.number].values
            assert_same([r for r in found.records if r is not made], [r for r in expected if r.number != made.number])


@settings(max_examples=40)
@given(data=st.data())
def test_no_trial_is_lost_whose_lines_are_whole(whole: Path, data: st.DataObject) -> None:
    """Whatever bytes are damaged, with other files at hand or without: the doctor says so and goes on."""
    content = bytearray((whole / JOURNAL).read_bytes())
    lines = content.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + 200] = data.draw(st.binary(min_size=1, max_size=200))
    untouched = set(bytes(content).splitlines(keepends=True)) & set(map(bytes, lines))
    description = describe(whole)
    alone = data.draw(st.booleans())
    witnesses = Witnesses(Path("nowhere") if alone else whole, description)
    found = rebuild(bytes(content), description, witnesses)
    assert found.content is not None
    by_number = {record.number: record for record in found.records}
    for record in read_records(whole):
        own = [bytes(line) for line in lines if _of(line) == record.number]
        if untouched.issuperset(own):
            assert known(by_number[record.number]) == known(record)


def _of(line: bytes) -> int | None:
    entry = json.loads(line)
    number = entry.get("trial_id", entry.get("user_attrs", {}).get("number"))
    return None if number is None else int(number)


def test_the_search_had_every_outcome(whole: Path) -> None:
    assert {record.outcome for record in read_records(whole)} == {COMPLETED, FAILED, PRUNED, RUNNING}


def test_members_of_a_population_are_made_again(tmp_path: Path) -> None:
    """Two epochs, after the first of which the worse half ends, and others go on from the better one."""
    recipe = {"learning_rate": {"type": "float", "low": 0.01, "high": 1.0, "log": True}}
    config = PopulationBasedTraining(recipe=recipe, quantile=0.5)
    folder, search = runs.begun(tmp_path, population=config, trials=4)
    while (assignment := search.propose()) is not None:
        number, epochs = assignment.number, range(search.history[assignment.number].epochs + 1, runs.EPOCHS + 1)
        rows = [{"epoch": epoch, "validation_error": 0.1 * (number + 1) / epoch, "seconds": 0.5} for epoch in epochs]
        for done, row in enumerate(rows, start=1):
            checkpoint.save_metrics(folder.trial(number), rows[:done])
            search.on_epoch(number, row)
            if search.rests_after(number, row["epoch"]):
                break
        search.on_end(number)
    records = search.store.records()
    runs.conclude(folder, records)
    assert rebuilt(tmp_path).problems == []
    children = [record.number for record in records if record.parent is not None]
    assert len(children) == 2 and min(records[children[0]].errors) == 2
    content = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    lost = [line for line in content if b'"begun"' in line]
    assert len(lost) == 2
    found = rebuilt(tmp_path, b"".join(line for line in content if line not in lost))
    assert len(found.problems) == 2
    assert_same(found.records, records)
