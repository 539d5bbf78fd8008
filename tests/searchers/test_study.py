from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search_spaces.staged import StagedSpace
from searchers import study
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING
from searchers.samplers import Random, Sampler, Tpe
from searchers.study import JOURNAL, TrialStore, read_records
from tests.searchers.fakes import SUBGROUPS, Killed, error_of, finish, optuna_trials, space, store

SAMPLERS = (Random(), Tpe(startup_trials=4))
SPACES = (space(), space(subgroups=SUBGROUPS))
by_name = {"ids": lambda thing: "conditional" if thing is SPACES[1] else getattr(thing, "name", None)}


def kill_at_call(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    real, calls = getattr(owner, name), iter(range(1_000_000))

    def killing(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, killing)


def proposals(folder: Path, number: int, sampler: Sampler, of: StagedSpace, *, reopen_every: int = 1000) -> list[Any]:
    """Values of so many trials, each of which completes, in a store that is opened anew in between."""
    values: list[Any] = []
    while len(values) < number:
        opened = store(folder, sampler, of=of)
        for _ in range(min(reopen_every, number - len(values))):
            record = opened.ask(uniform=len(values) % 5 == 4)
            finish(opened, record)
            values.append(record.values)
    return values


@pytest.mark.parametrize("of", SPACES, **by_name)
@pytest.mark.parametrize("sampler", SAMPLERS, **by_name)
def test_proposals_are_numbered_and_decode(tmp_path: Path, sampler: Sampler, of: StagedSpace) -> None:
    opened = store(tmp_path, sampler, of=of)
    for number in range(12):
        record = opened.ask()
        assert (record.number, record.outcome) == (number, RUNNING)
        of.decode(record.values)
        assert opened.record(number).values == record.values
        finish(opened, record)


@pytest.mark.parametrize("sampler", SAMPLERS, **by_name)
def test_a_knob_with_a_condition_has_a_value_only_where_that_holds(tmp_path: Path, sampler: Sampler) -> None:
    opened = store(tmp_path, sampler, of=SPACES[1])
    seen = set()
    for _ in range(16):
        values = finish(opened, opened.ask()).values
        assert ("stage1.subgroups" in values) == (values["stage1.form"] == "bottleneck")
        seen.add(values["stage1.form"])
    assert seen == {"plain", "bottleneck"}


@pytest.mark.parametrize("of", SPACES, **by_name)
@pytest.mark.parametrize("sampler", SAMPLERS, **by_name)
def test_a_store_that_was_closed_and_reopened_proposes_the_same(
    tmp_path: Path, sampler: Sampler, of: StagedSpace
) -> None:
    unbroken = proposals(tmp_path / "unbroken", 12, sampler, of)
    assert proposals(tmp_path / "broken", 12, sampler, of, reopen_every=3) == unbroken
    assert len({json.dumps(values) for values in unbroken}) > 8


@pytest.mark.parametrize("sampler", SAMPLERS, **by_name)
def test_another_seed_proposes_something_else(tmp_path: Path, sampler: Sampler) -> None:
    first, second = (store(tmp_path / str(seed), sampler, seed=seed).ask().values for seed in (0, 1))
    assert first != second


def test_tpe_learns_from_the_history(tmp_path: Path) -> None:
    """With ten trials behind it, it proposes better ones than at first; what is random does not."""
    mean = {}
    for sampler in (Random(), Tpe(startup_trials=10)):
        errors = [error_of(values) for values in proposals(tmp_path / sampler.name, 30, sampler, space())]
        mean[sampler.name] = (sum(errors[:10]) / 10, sum(errors[10:]) / 20)
    assert mean["tpe"][0] == mean["random"][0]
    assert mean["tpe"][1] < mean["tpe"][0] - 0.05
    assert mean["tpe"][1] < mean["random"][1] - 0.05


def test_uniform_proposals_do_not_learn(tmp_path: Path) -> None:
    opened = {name: store(tmp_path / name, sampler) for name, sampler in (("tpe", SAMPLERS[1]), ("random", Random()))}
    for _ in range(6):
        for each in opened.values():
            finish(each, each.ask(uniform=True))
    assert opened["tpe"].ask(uniform=True).values == opened["random"].ask(uniform=True).values


def test_what_was_noted_of_a_trial(tmp_path: Path) -> None:
    opened = store(tmp_path)
    number = opened.ask().number
    opened.note(number, {"fingerprint": "abc", "params": 12, "architecture": {"stages": [1]}})
    assert opened.report(number, 1, 0.5)
    assert opened.report(number, 2, 0.25)
    opened.finish(number, COMPLETED, {"seconds": 1.5})
    record = opened.record(number)
    assert (record.outcome, record.error, record.epochs) == (COMPLETED, 0.25, 2)
    assert (record.fingerprint, record.facts["params"], record.facts["seconds"]) == ("abc", 12, 1.5)
    assert record.facts["architecture"] == {"stages": [1]}
    assert record.facts["started"] <= record.facts["finished"]
    assert opened.records() == [record] == read_records(tmp_path)


def test_an_epoch_that_is_reported_again_stays_as_it_was(tmp_path: Path) -> None:
    opened = store(tmp_path)
    number = opened.ask().number
    assert opened.report(number, 1, 0.5)
    assert not opened.report(number, 1, 0.1)
    assert opened.record(number).errors == {1: 0.5}


@pytest.mark.parametrize(
    ("outcome", "state", "value"),
    [
        (COMPLETED, TrialState.COMPLETE, 0.25),
        (PRUNED, TrialState.PRUNED, 0.25),
        (FAILED, TrialState.FAIL, None),
    ],
)
def test_what_optuna_is_told_of_an_outcome(
    tmp_path: Path, outcome: str, state: TrialState, value: float | None
) -> None:
    opened = store(tmp_path)
    finish(opened, opened.ask(), 0.5, 0.25, outcome=outcome)
    (trial,) = optuna_trials(tmp_path)
    assert (trial.state, trial.value) == (state, value)
    assert trial.intermediate_values == {1: 0.5, 2: 0.25}


def test_optuna_is_told_that_a_refused_trial_is_infeasible(tmp_path: Path) -> None:
    opened = store(tmp_path)
    number = opened.ask().number
    opened.constrain(number, {"params": 0.5, "macs": 0.1})
    opened.finish(number, REFUSED, {"reason": "params 12 is above its maximum 8"})
    (trial,) = optuna_trials(tmp_path)
    assert (trial.state, trial.constraints) == (TrialState.PRUNED, {"params": 0.5, "macs": 0.1})
    record = opened.record(number)
    assert (record.outcome, record.error) == (REFUSED, None)
    assert record.facts["reason"] == "params 12 is above its maximum 8"


def test_tpe_keeps_away_from_what_was_refused(tmp_path: Path) -> None:
    opened = store(tmp_path, Tpe(startup_trials=8))
    forms = []
    for _ in range(40):
        record = opened.ask()
        forms.append(record.values["stage1.form"])
        if forms[-1] == "bottleneck":
            opened.constrain(record.number, {"params": 1.0})
            opened.finish(record.number, REFUSED)
        else:
            finish(opened, record, 0.5)
    assert Counter(forms[20:])["bottleneck"] <= 4


@pytest.mark.parametrize(
    ("outcome", "state", "value"),
    [(COMPLETED, TrialState.COMPLETE, 0.3), (PRUNED, TrialState.PRUNED, 0.3), (FAILED, TrialState.FAIL, None)],
)
def test_a_duplicate_gets_what_is_known_of_the_original(
    tmp_path: Path, outcome: str, state: TrialState, value: float | None
) -> None:
    opened = store(tmp_path)
    original = finish(opened, opened.ask(), 0.4, 0.3, outcome=outcome)
    number = opened.ask().number
    opened.finish_duplicate(number, original)
    record = opened.record(number)
    assert (record.outcome, record.facts["duplicate_of"], record.errors) == (DUPLICATE, 0, {1: 0.4, 2: 0.3})
    trial = optuna_trials(tmp_path)[1]
    assert (trial.state, trial.value) == (state, value)


def test_an_open_trial_is_adopted_with_its_values_and_epochs(tmp_path: Path) -> None:
    first = store(tmp_path)
    asked = first.ask()
    first.report(asked.number, 1, 0.5)
    second = store(tmp_path)
    assert [record.outcome for record in second.records()] == [RUNNING]
    adopted = second.adopt(asked.number)
    assert (adopted.values, adopted.errors) == (asked.values, {1: 0.5})
    second.report(asked.number, 2, 0.25)
    second.finish(asked.number, COMPLETED)
    assert second.record(asked.number).errors == {1: 0.5, 2: 0.25}
    assert second.ask().number == 1


@pytest.mark.parametrize("drawn", range(5))
@pytest.mark.parametrize("sampler", SAMPLERS, **by_name)
def test_values_that_a_killed_search_had_not_drawn_are_drawn_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: Sampler, drawn: int
) -> None:
    of = SPACES[1]
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for folder in (unbroken, broken):
        proposals(folder, 6, sampler, of)
    expected = [store(unbroken, sampler, of=of).ask().values]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_call(patch, study, "_suggest", min(drawn, len(expected[0]) - 1))
        store(broken, sampler, of=of).ask()
    opened = store(broken, sampler, of=of)
    half = opened.records()[-1]
    assert (half.outcome, len(half.values)) == (RUNNING, min(drawn, len(expected[0]) - 1))
    assert opened.adopt(half.number).values == expected[0]
    finish(opened, opened.record(half.number))
    assert read_records(broken)[-1].outcome == COMPLETED


@pytest.mark.filterwarnings("error")
def test_an_end_that_was_cut_off_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the reason of a refusal was written and before the trial was closed."""
    first = store(tmp_path)
    number = first.ask().number
    first.constrain(number, {"params": 0.5})
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_call(patch, optuna.Study, "tell", 0)
        first.finish(number, REFUSED, {"reason": "too large"})
    second = store(tmp_path)
    record = second.adopt(number)
    assert (record.outcome, "reason" in record.facts) == (RUNNING, False)
    second.constrain(number, {"params": 0.5})
    second.report(number, 1, 0.5)
    second.finish(number, COMPLETED)
    assert "reason" not in second.record(number).facts
    assert second.record(number).outcome == COMPLETED


def filled(folder: Path, trials: int = 3) -> TrialStore:
    opened = store(folder, SAMPLERS[1])
    for _ in range(trials):
        record = opened.ask()
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
        opened = store(tmp_path, SAMPLERS[1])
    assert caplog.messages == [f"{journal}: dropped an entry that was cut off while written"]
    assert opened.records() == whole
    assert journal.read_bytes().startswith(content + b'{"op_code"')
    finish(opened, opened.ask())
    assert len(read_records(tmp_path)) == 4


def test_a_journal_that_ends_anywhere_opens(tmp_path: Path) -> None:
    """Whatever the moment of the kill: trials that had ended before are there, and the search can go on."""
    filled(tmp_path / "whole")
    whole = read_records(tmp_path / "whole")
    content = (tmp_path / "whole" / JOURNAL).read_bytes()
    second_ends = content.rindex(b'"op_code":4')
    for cut in (*range(0, second_ends, len(content) // 12), *range(len(content) - 60, len(content), 7)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / JOURNAL).write_bytes(content[:cut])
        ended = [record for record in read_records(folder) if record.outcome != RUNNING]
        assert ended == whole[: len(ended)]
        opened = store(folder, SAMPLERS[1])
        assert [record for record in opened.records() if record.outcome != RUNNING] == ended
        for record in opened.records()[len(ended) :]:
            finish(opened, opened.adopt(record.number))
        finish(opened, opened.ask())


def test_a_lock_that_a_killed_search_left_does_not_block(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / f"{JOURNAL}.lock").symlink_to(tmp_path / JOURNAL)
    (tmp_path / f"{JOURNAL}.lock8b7e.rename").symlink_to(tmp_path / JOURNAL)
    began = time.monotonic()
    opened = store(tmp_path)
    opened.ask()
    assert time.monotonic() - began < 10  # Optuna would wait for 30 s
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]


def damage(position: int) -> Callable[[bytes], bytes]:
    def damaged(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        lines[position] = b"\0" * 20 + b"\n"
        return b"".join(lines)

    return damaged


@pytest.mark.parametrize("position", [0, 5])
def test_a_journal_that_is_damaged_is_not_taken_for_a_shorter_one(tmp_path: Path, position: int) -> None:
    filled(tmp_path)
    journal = tmp_path / JOURNAL
    journal.write_bytes(damage(position)(journal.read_bytes()))
    for opening in (lambda: store(tmp_path), lambda: read_records(tmp_path)):
        with pytest.raises(ValueError, match=f"^{journal}: damaged, put back a copy or begin anew with another run=: "):
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
    opened.report(opened.ask().number, 1, 0.5)
    assert read_records(tmp_path) == opened.records()
    assert read_records(tmp_path)[-1].errors == {1: 0.5}


def test_records_do_not_change_with_the_store(tmp_path: Path) -> None:
    opened = store(tmp_path)
    opened.ask()
    before = opened.record(0)
    opened.note(0, {"params": 12})
    opened.report(0, 1, 0.5)
    assert (before.errors, "params" in before.facts) == ({}, False)
