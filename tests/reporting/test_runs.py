from __future__ import annotations

from reporting.runs import moment
from searchers.record import COMPLETED, FAILED, TrialRecord
from tests.reporting.records import run, trial


def test_when_a_trial_was_started() -> None:
    facts = {"started": "2026-01-01T00:00:00+00:00", "finished": "soon"}
    record = TrialRecord(number=0, outcome=COMPLETED, values={}, facts=facts)
    assert str(moment(record, "started")) == "2026-01-01 00:00:00+00:00"
    assert (moment(record, "finished"), moment(record, "seen")) == (None, None)


def test_a_trial_counts_once_it_has_a_result() -> None:
    trials = [trial(0, COMPLETED, 0.5), trial(1, COMPLETED), trial(2, COMPLETED, float("nan")), trial(3, FAILED, 0.5)]
    assert [found.record.number for found in run(*trials).trained] == [0]


def test_what_a_search_minimised() -> None:
    assert run().objectives == ("error",)
    assert run(description={"objective": ["error", "macs"]}).objectives == ("error", "macs")
    assert run(description={"objective": ["speed"]}).objectives == ("error",)
