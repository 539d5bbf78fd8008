"""Population based training through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from searchers.record import COMPLETED, PRUNED, RUNNING, TrialRecord
from tests.search_process import records, search, timeless

pytestmark = pytest.mark.slow

SETTINGS = ("scheduler=pbt", "scheduler.quantile=0.5", "trials=4", "trial.epochs=3", "searcher=random")


def some_rest(found: list[TrialRecord]) -> bool:
    """The first generation has been compared, and the second one has begun to come in."""
    children = [record for record in found if record.parent is not None]
    return any(record.errors for record in children) and any(record.outcome == RUNNING for record in found)


def test_it_ends_alike_killed_or_not_and_one_or_two_at_a_time(tmp_path: Path) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    with search(*SETTINGS, "concurrency=1", f"run={unbroken}") as whole:
        with search(*SETTINGS, "concurrency=2", f"run={killed}") as first:
            first.wait(killed, some_rest)
            first.kill()
        with search(*SETTINGS, "concurrency=2", f"run={killed}", "resume=true") as second:
            second.succeed()
        stdout = whole.succeed()
    found = records(unbroken)
    assert [record.outcome for record in found].count(COMPLETED) == 4
    assert [record.outcome for record in found].count(PRUNED) == len(found) - 4 == 4
    assert {record.number: timeless(record) for record in found} == {r.number: timeless(r) for r in records(killed)}
    children = [record for record in found if record.parent is not None]
    assert sorted(child.facts["replaces"] for child in children) == [r.number for r in found if r.outcome == PRUNED]
    assert {child.begun for child in children} == {1, 2}
    assert list(unbroken.glob("trials/*/checkpoint-*.pt")) == []
    best = yaml.safe_load((unbroken / "best" / "result.yaml").read_text())
    assert best["recipe"][-1]["epochs"][1] == 3 and f"recipe of trial {best['trial']}: epochs 1 to " in stdout
