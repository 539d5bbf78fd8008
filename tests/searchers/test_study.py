from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from searchers import journal
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING
from searchers.study import JOURNAL, TrialStore, read_records
from tests.searchers.fakes import (
    SUBGROUPS,
    Killed,
    begin,
    drawn,
    finish,
    named,
    optuna_study,
    optuna_trials,
    space,
    store,
)

SPACES = (space(), space(subgroups=SUBGROUPS))
TWO = ("error", "params")
ENDS = [(COMPLETED, TrialState.COMPLETE, 0.25), (PRUNED, TrialState.PRUNED, 0.25), (FAILED, TrialState.FAIL, None)]


def kill_at_call(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int = 0) -> None:
    real, calls = getattr(owner, name), iter(range(1_000_000))

    def killing(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, killing)


@pytest.mark.parametrize("of", SPACES, ids=["plain", "conditional"])
def test_trials_are_numbered_and_keep_their_values(tmp_path: Path, of: Any) -> None:
    opened = store(tmp_path, of)
    for number in range(12):
        record = opened.begin(drawn(number, of), {"params": number})
        assert (record.number, record.outcome, record.values) == (number, RUNNING, drawn(number, of))
        assert record.facts["params"] == number
        assert opened.record(number) == record
    values = [record.values for record in read_records(tmp_path)]
    assert values == [drawn(number, of) for number in range(12)]
    assert {name: type(value) for name, value in values[0].items()} == {
        name: type(value) for name, value in drawn(0, of).items()
    }
    distributions = [trial.distributions for trial in optuna_trials(tmp_path)]
    assert [list(of_trial) for of_trial in distributions] == [list(of_values) for of_values in values]


def test_a_trial_begins_with_one_entry(tmp_path: Path) -> None:
    """So that it is there whole or not at all."""
    opened = store(tmp_path)
    before = len((tmp_path / JOURNAL).read_text().splitlines())
    begin(opened, fingerprint="abc", params=12)
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == before + 1


def test_what_was_noted_of_a_trial(tmp_path: Path) -> None:
    opened = store(tmp_path)
    number = begin(opened, fingerprint="abc", params=12, architecture={"stages": [1]}).number
    opened.note(number, {"latency": 2.5})
    assert opened.report(number, 1, 0.5)
    assert opened.report(number, 2, 0.25)
    record = opened.finish(number, COMPLETED, {"seconds": 1.5})
    assert (record.outcome, record.error, record.epochs) == (COMPLETED, 0.25, 2)
    assert (record.fingerprint, record.facts["params"], record.facts["seconds"]) == ("abc", 12, 1.5)
    assert (record.facts["architecture"], record.facts["latency"]) == ({"stages": [1]}, 2.5)
    assert (record.feasible, "violations" in record.facts) == (True, False)
    assert opened.records() == [record] == read_records(tmp_path)


def test_when_a_trial_was_is_said_in_utc(tmp_path: Path) -> None:
    opened = store(tmp_path)
    facts = finish(opened, begin(opened)).facts
    started, finished = (datetime.fromisoformat(facts[name]) for name in ("started", "finished"))
    assert started.utcoffset() == finished.utcoffset() == timedelta(0)
    assert timedelta(0) <= finished - started < timedelta(seconds=10)
    assert abs(started.timestamp() - time.time()) < 60
    assert begin(opened).facts["finished"] is None


def test_a_clock_that_is_set_back_makes_no_trial_end_before_it_began(tmp_path: Path) -> None:
    opened = store(tmp_path)
    finish(opened, begin(opened))
    entries = [journal.parse(line) for line in (tmp_path / JOURNAL).read_bytes().splitlines()]
    for entry in entries:
        entry |= {"datetime_complete": "2001-01-01T00:00:00+00:00"} if "datetime_complete" in entry else {}
    (tmp_path / JOURNAL).write_bytes(b"".join(map(journal.seal, entries)))
    (record,) = read_records(tmp_path)
    assert record.facts["finished"] == record.facts["started"] > "2026"
    assert store(tmp_path).records() == [record]


def test_an_epoch_that_is_reported_again_stays_as_it_was(tmp_path: Path) -> None:
    opened = store(tmp_path)
    number = begin(opened).number
    assert opened.report(number, 1, 0.5)
    assert not opened.report(number, 1, 0.1)
    assert opened.record(number).errors == {1: 0.5}


@pytest.mark.parametrize(("outcome", "state", "value"), ENDS)
def test_what_optuna_is_told_of_an_outcome(
    tmp_path: Path, outcome: str, state: TrialState, value: float | None
) -> None:
    opened = store(tmp_path)
    finish(opened, begin(opened), 0.5, 0.25, outcome=outcome)
    (trial,) = optuna_trials(tmp_path)
    assert (trial.state, trial.value) == (state, value)
    assert trial.intermediate_values == {1: 0.5, 2: 0.25}


@pytest.mark.parametrize(
    ("outcome", "state", "values"),
    [
        (COMPLETED, TrialState.COMPLETE, [0.25, 12]),
        (PRUNED, TrialState.PRUNED, None),
        (FAILED, TrialState.FAIL, None),
    ],
)
def test_what_optuna_is_told_of_several_objectives(
    tmp_path: Path, outcome: str, state: TrialState, values: list[float] | None
) -> None:
    """What was stopped early has no place among the results of the last epoch."""
    opened = store(tmp_path, objectives=TWO)
    finish(opened, begin(opened, params=12), 0.5, 0.25, outcome=outcome)
    (trial,) = optuna_trials(tmp_path)
    assert (trial.state, trial.values) == (state, values)


@pytest.mark.parametrize("objectives", [("error",), TWO])
def test_optuna_knows_the_objectives_by_name(tmp_path: Path, objectives: tuple[str, ...]) -> None:
    for _ in range(2):
        store(tmp_path, objectives=objectives)
    study = optuna_study(tmp_path)
    assert study.metric_names == list(objectives)
    assert [direction.name for direction in study.directions] == ["MINIMIZE"] * len(objectives)


def test_the_names_of_the_objectives_are_written_where_a_kill_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_call(patch, JournalStorage, "set_study_system_attr")
        store(tmp_path)
    assert optuna_study(tmp_path).metric_names is None
    store(tmp_path)
    assert optuna_study(tmp_path).metric_names == ["error"]


def test_optuna_is_told_that_a_refused_proposal_is_infeasible(tmp_path: Path) -> None:
    opened = store(tmp_path)
    facts = {"fingerprint": "abc", "params": 12, "reason": "params 12 is above its maximum 8"}
    record = opened.refuse(drawn(0), facts, {"params": 0.5, "macs": 0.1})
    (trial,) = optuna_trials(tmp_path)
    assert (trial.state, trial.value, named(trial)) == (TrialState.PRUNED, None, {"params": 0.5, "macs": 0.1})
    assert (record.outcome, record.error, record.feasible) == (REFUSED, None, False)
    assert (record.values, record.fingerprint) == (drawn(0), "abc")
    assert (record.facts["reason"], record.facts["params"]) == ("params 12 is above its maximum 8", 12)
    assert record.facts["violations"] == {"params": 0.5, "macs": 0.1}


def test_a_constraint_that_holds_is_no_violation(tmp_path: Path) -> None:
    record = store(tmp_path).refuse(drawn(0), {}, {"params": 0.5, "macs": 0.0, "serial_depth": -0.5})
    assert record.facts["violations"] == {"params": 0.5}


def test_a_proposal_is_refused_in_one_entry(tmp_path: Path) -> None:
    opened = store(tmp_path)
    before = len((tmp_path / JOURNAL).read_text().splitlines())
    opened.refuse(drawn(0), {"reason": "too large"}, {"params": 0.5})
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == before + 1


def test_optuna_is_told_of_the_limits_that_a_trained_trial_breaks(tmp_path: Path) -> None:
    opened = store(tmp_path)
    number = begin(opened, latency=6.0).number
    opened.report(number, 1, 0.5)
    record = opened.finish(number, COMPLETED, violations={"latency": 0.2})
    (trial,) = optuna_trials(tmp_path)
    assert (trial.state, trial.value, named(trial)) == (TrialState.COMPLETE, 0.5, {"latency": 0.2})
    assert (record.outcome, record.feasible, record.facts["violations"]) == (COMPLETED, False, {"latency": 0.2})


@pytest.mark.parametrize("opened_before", [False, True], ids=["proposed", "open"])
@pytest.mark.parametrize(("outcome", "state", "value"), ENDS)
def test_a_duplicate_gets_what_is_known_of_the_original(
    tmp_path: Path, outcome: str, state: TrialState, value: float | None, opened_before: bool
) -> None:
    opened = store(tmp_path)
    original = finish(opened, begin(opened), 0.5, 0.25, outcome=outcome)
    if opened_before:
        record = opened.finish_duplicate(begin(opened, fingerprint="abc").number, original)
    else:
        record = opened.duplicate(drawn(1), {"fingerprint": "abc"}, original)
    assert record == read_records(tmp_path)[1]
    assert (record.outcome, record.facts["duplicate_of"], record.errors) == (DUPLICATE, 0, {1: 0.5, 2: 0.25})
    assert (record.values, record.fingerprint) == (drawn(1), "abc")
    trial = optuna_trials(tmp_path)[1]
    assert (trial.state, trial.value) == (state, value)
    assert trial.datetime_complete is not None


@pytest.mark.parametrize("opened_before", [False, True], ids=["proposed", "open"])
def test_a_duplicate_has_the_objectives_and_limits_of_the_original(tmp_path: Path, opened_before: bool) -> None:
    opened = store(tmp_path, objectives=("error", "latency"))
    number = begin(opened).number
    opened.note(number, {"latency": 6.0, "reach": [3, None]})
    opened.report(number, 1, 0.5)
    original = opened.finish(number, COMPLETED, violations={"latency": 0.2})
    if opened_before:
        record = opened.finish_duplicate(begin(opened).number, original)
    else:
        record = opened.duplicate(drawn(1), {}, original)
    assert (record.outcome, record.feasible) == (DUPLICATE, False)
    assert (record.facts["latency"], record.facts["reach"]) == (6.0, [3, None])
    trial = optuna_trials(tmp_path)[1]
    assert (trial.state, trial.values, named(trial)) == (TrialState.COMPLETE, [0.5, 6.0], {"latency": 0.2})


def test_a_duplicate_of_what_was_refused_is_refused(tmp_path: Path) -> None:
    opened = store(tmp_path)
    original = opened.refuse(drawn(0), {"reason": "too slow"}, {"latency": 0.2})
    record = opened.duplicate(drawn(1), {}, original)
    assert (record.outcome, record.error, record.feasible) == (DUPLICATE, None, False)
    assert optuna_trials(tmp_path)[1].state == TrialState.PRUNED


def test_an_open_trial_is_gone_on_with(tmp_path: Path) -> None:
    first = store(tmp_path)
    number = begin(first, params=12).number
    first.report(number, 1, 0.5)
    second = store(tmp_path)
    (record,) = second.records()
    assert (record.outcome, record.values, record.errors, record.facts["params"]) == (RUNNING, drawn(0), {1: 0.5}, 12)
    second.note(number, {"latency": 2.5})
    second.report(number, 2, 0.25)
    assert second.finish(number, COMPLETED).errors == {1: 0.5, 2: 0.25}
    assert second.record(number).facts["latency"] == 2.5
    assert begin(second).number == 1


@pytest.mark.filterwarnings("error")
def test_an_end_that_was_cut_off_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the reason of a refusal was written and before the trial was closed."""
    first = store(tmp_path)
    number = begin(first).number
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_call(patch, JournalStorage, "set_trial_state_values")
        first.finish(number, REFUSED, {"reason": "too slow"}, {"latency": 0.5})
    second = store(tmp_path)
    record = second.record(number)
    assert (record.outcome, "reason" in record.facts) == (RUNNING, False)
    second.report(number, 1, 0.5)
    record = second.finish(number, COMPLETED, violations={"latency": 0.5, "error": 0.25})
    assert (record.outcome, "reason" in record.facts) == (COMPLETED, False)
    assert record.facts["violations"] == {"latency": 0.5, "error": 0.25}


@pytest.mark.parametrize("call", range(3))
def test_a_duplicate_that_was_cut_off_is_answered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Killed between the epochs of the original, or after them."""
    first = store(tmp_path)
    original = finish(first, begin(first), 0.5, 0.25)
    number = begin(first).number
    killed_in = ("set_trial_intermediate_value", "set_trial_intermediate_value", "set_trial_state_values")[call]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_call(patch, JournalStorage, killed_in, call % 2)
        first.finish_duplicate(number, original)
    second = store(tmp_path)
    assert second.record(number).outcome == RUNNING
    record = second.finish_duplicate(number, second.record(0))
    assert (record.outcome, record.errors) == (DUPLICATE, original.errors)


def filled(folder: Path, trials: int = 3) -> TrialStore:
    opened = store(folder)
    for _ in range(trials):
        record = begin(opened)
        opened.note(record.number, {"params": 12})
        finish(opened, record)
    return opened


def test_an_entry_that_was_cut_off_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = filled(tmp_path).records()
    journal = tmp_path / JOURNAL
    content = journal.read_bytes()
    journal.write_bytes(content + b'{"op_code":4,"worker_id":"0f')
    assert read_records(tmp_path) == whole
    with caplog.at_level(logging.WARNING):
        opened = store(tmp_path)
    assert caplog.messages == [f"{journal}: dropped an entry that was cut off while written"]
    assert opened.records() == whole
    assert journal.read_bytes().startswith(content + b'{"op_code"')
    finish(opened, begin(opened))
    assert len(read_records(tmp_path)) == 4


def test_a_journal_that_ends_anywhere_opens(tmp_path: Path) -> None:
    """Whatever the moment of the kill: trials that had ended before are there, and the search can go on."""
    filled(tmp_path / "whole")
    whole = read_records(tmp_path / "whole")
    content = (tmp_path / "whole" / JOURNAL).read_bytes()
    ends = [end + 1 for end, byte in enumerate(content) if byte == ord("\n")]
    for cut in (*range(0, len(content), len(content) // 12), *ends, *(end - 7 for end in ends[-3:])):
        folder = tmp_path / str(cut)
        folder.mkdir(exist_ok=True)
        (folder / JOURNAL).write_bytes(content[:cut])
        ended = [record for record in read_records(folder) if record.outcome != RUNNING]
        assert ended == whole[: len(ended)]
        opened = store(folder)
        assert [record for record in opened.records() if record.outcome != RUNNING] == ended
        for record in opened.records()[len(ended) :]:
            assert record.values == whole[record.number].values
            finish(opened, record)
        finish(opened, begin(opened))
        assert {record.outcome for record in read_records(folder)} == {COMPLETED}


def changed(folder: Path, position: int, **fields: Any) -> None:
    """A line of the journal says something else, with a checksum of its own."""
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    lines[position] = journal.seal({**journal.parse(lines[position]), **fields})
    (folder / JOURNAL).write_bytes(b"".join(lines))


def refusals(folder: Path) -> set[str]:
    """What reading it and going on with it say."""
    messages = set()
    for opening in (lambda: read_records(folder), lambda: store(folder)):
        with pytest.raises(ValueError) as error:
            opening()
        messages.add(str(error.value))
    return messages


def test_a_journal_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    changed(tmp_path, 1, user_attr={"schema": {"schema": "seqconv.study", "version": 2}})
    assert refusals(tmp_path) == {"study.journal: version 2 is newer than 1, the newest this release reads: upgrade it"}


def test_a_changed_number_in_a_line_shows(tmp_path: Path) -> None:
    filled(tmp_path)
    content = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(content.replace(b'"trial_id":2,', b'"trial_id":1,', 1))
    assert refusals(tmp_path) == {damaged(tmp_path) + "line 15: its checksum is not that of its content"}


def test_a_trial_in_the_place_of_another_shows(tmp_path: Path) -> None:
    """Where a line that begins a trial is gone, those after it would take the results of their neighbours."""
    filled(tmp_path)
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_bytes(b"".join(line for line in lines if b'"number":0' not in line))
    assert refusals(tmp_path) == {damaged(tmp_path) + "trial 1 stands where trial 0 should"}


@pytest.mark.parametrize(
    ("position", "fields", "reason"),
    [
        (0, {"study_name": "other"}, "the line that begins the study is missing"),
        (3, {"state": 9}, "line 4: state is 9"),
        (3, {"distributions": {"stage1.blocks": "{}"}}, "KeyError 'type'"),
        (6, {"user_attr": {"ends": {}}}, "how trial 0 ended is missing"),
    ],
)
def test_a_line_that_makes_no_sense_shows(tmp_path: Path, position: int, fields: dict[str, Any], reason: str) -> None:
    filled(tmp_path)
    changed(tmp_path, position, **fields)
    assert refusals(tmp_path) == {damaged(tmp_path) + reason}


def test_a_journal_that_has_lost_its_end_is_not_gone_on_with(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "trials" / "0003").mkdir(parents=True)
    assert len(read_records(tmp_path)) == 3
    with pytest.raises(ValueError) as error:
        store(tmp_path)
    assert str(error.value) == damaged(tmp_path) + "it ends before trial 3, which has a folder"


def test_a_lock_that_a_killed_search_left_does_not_block(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / f"{JOURNAL}.lock").symlink_to(tmp_path / JOURNAL)
    (tmp_path / f"{JOURNAL}.lock8b7e.rename").symlink_to(tmp_path / JOURNAL)
    began = time.monotonic()
    opened = store(tmp_path)
    begin(opened)
    assert time.monotonic() - began < 10  # Optuna would wait for 30 s
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]


def damage(position: int) -> Callable[[bytes], bytes]:
    def with_zeros(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        lines[position] = b"\0" * 20 + b"\n"
        return b"".join(lines)

    return with_zeros


def damaged(folder: Path) -> str:
    """How the message begins."""
    advice = f"look at it with python doctor.py run={folder}, put back a copy or begin anew with another run=: "
    return f"{folder / JOURNAL}: damaged, {advice}"


@pytest.mark.parametrize("position", [0, 5])
def test_a_journal_that_is_damaged_is_not_taken_for_a_shorter_one(tmp_path: Path, position: int) -> None:
    filled(tmp_path)
    journal = tmp_path / JOURNAL
    journal.write_bytes(damage(position)(journal.read_bytes()))
    for opening in (lambda: store(tmp_path), lambda: read_records(tmp_path)):
        with pytest.raises(ValueError, match=re.escape(damaged(tmp_path))):
            opening()


@pytest.mark.parametrize("content", [None, b""], ids=["opened", "empty"])
def test_a_search_without_trials_has_no_records(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        store(tmp_path)
    else:
        (tmp_path / JOURNAL).write_bytes(content)
    assert read_records(tmp_path) == []


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_without_a_search(tmp_path: Path, folder: str) -> None:
    message = r"no study\.journal there; run= takes the folder of a search, such as runs/NAME$"
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path / folder)
    assert not any(tmp_path.iterdir())


def test_records_can_be_read_while_the_search_runs(tmp_path: Path) -> None:
    opened = filled(tmp_path)
    opened.report(begin(opened).number, 1, 0.5)
    assert read_records(tmp_path) == opened.records()
    assert read_records(tmp_path)[-1].errors == {1: 0.5}


def test_records_do_not_change_with_the_store(tmp_path: Path) -> None:
    opened = store(tmp_path)
    before = begin(opened)
    opened.note(0, {"params": 12})
    opened.report(0, 1, 0.5)
    assert (before.errors, "params" in before.facts) == ({}, False)


def test_a_journal_that_an_earlier_release_began_is_gone_on_with(tmp_path: Path) -> None:
    """It did not name what it minimised."""
    opened = store(tmp_path)
    finish(opened, begin(opened, fingerprint="abc"), 0.5)
    begin(opened)
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    older = [line for line, entry in zip(lines, entries, strict=True) if "system_attr" not in entry]
    assert len(older) == len(lines) - 1
    (tmp_path / JOURNAL).write_text("\n".join(older) + "\n")
    again = store(tmp_path)
    assert optuna_study(tmp_path).metric_names == ["error"]
    assert [record.outcome for record in again.records()] == [COMPLETED, RUNNING]
    finish(again, again.record(1))
    assert finish(again, begin(again)).number == 2
