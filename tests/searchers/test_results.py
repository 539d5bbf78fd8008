from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import seqconv
from searchers import results
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.run_folder import RunFolder
from seqconv.serialization import read_yaml

ARCHITECTURE = seqconv.read_architecture("cifar_b_small")
COSTS = {
    "params": 1234567,
    "macs": 22_000_000,
    "paper_flops": 23_000_000,
    "activation_bytes": 5_000_000,
    "serial_depth": 41,
    "unread_groups": 3,
}
FACTS = {"dataset": "digits", "fingerprint": "abc", "architecture": ARCHITECTURE.to_dict(), **COSTS}
KNOBS = {"stage1.window": 4, "stage1.form": "plain", "stage1.ratio": 1.0, "stage1.wide": True}


def record(
    number: int, outcome: str, *errors: float, values: dict[str, Any] | None = None, **facts: Any
) -> TrialRecord:
    return TrialRecord(
        number=number,
        outcome=outcome,
        values=KNOBS if values is None else values,
        errors=dict(enumerate(errors, start=1)),
        facts=facts if outcome == REFUSED else FACTS | facts,
    )


RECORDS = [
    record(0, COMPLETED, 0.5, 0.25, seconds=3.5, started="2026-01-01T00:00:00", finished="2026-01-01T00:01:00"),
    record(1, PRUNED, 0.75, latency=2.5, values={**KNOBS, "stage1.window": "dense", "stage1.subgroups": 2}),
    record(2, FAILED, float("nan"), reason="Traceback\nValueError: a, b"),
    record(3, REFUSED, reason="params 12 is above its maximum 8"),
    record(4, DUPLICATE, 0.5, 0.25, duplicate_of=0),
    record(5, RUNNING),
]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    opened = RunFolder(tmp_path / "one")
    opened.open({"search_space": {}, "dataset": {}, "trial": {}, "seed": 0}, {})
    return opened


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None for everything that is missing."""
    return [{k: None if pd.isna(v) else v for k, v in row.items()} for row in frame.to_dict("records")]


def test_a_row_a_trial(folder: RunFolder) -> None:
    rows = plain(results.to_frame(RECORDS))
    assert [row["outcome"] for row in rows] == [r.outcome for r in RECORDS]
    assert rows[0] == {
        "trial": 0, "outcome": "completed", "dataset": "digits", "error": 0.25, "epochs": 2, "fingerprint": "abc",
        **COSTS, "latency": None, "energy": None, "seconds": 3.5,
        "duplicate_of": None, "started": "2026-01-01T00:00:00", "finished": "2026-01-01T00:01:00", "reason": None,
        "violations": None, "errors": '{"1": 0.5, "2": 0.25}', "architecture": ARCHITECTURE.describe(),
        "knob.stage1.window": "4",
        "knob.stage1.form": "plain", "knob.stage1.ratio": 1.0, "knob.stage1.wide": True, "knob.stage1.subgroups": None,
    }  # fmt: skip
    assert (rows[1]["knob.stage1.window"], rows[1]["knob.stage1.subgroups"], rows[1]["latency"]) == ("dense", 2, 2.5)
    assert (rows[2]["error"], json.loads(rows[2]["errors"])) == (None, {"1": None})
    assert (rows[3]["params"], rows[3]["reason"]) == (None, "params 12 is above its maximum 8")
    assert rows[4]["duplicate_of"] == 0
    assert (rows[5]["error"], rows[5]["errors"]) == (None, "{}")


def test_where_the_files_of_a_shared_study_are() -> None:
    shared = record(0, COMPLETED, 0.5, driver={"name": "a", "where": "gpu1:/runs/a"})
    assert [row["where"] for row in plain(results.to_frame([shared, RECORDS[5]]))] == ["gpu1:/runs/a", None]
    assert "where" not in results.to_frame(RECORDS).columns


@pytest.mark.parametrize(
    "records", [[], [record(0, FAILED, reason="x")], [record(0, REFUSED, values={}), record(1, REFUSED)], RECORDS],
    ids=["none", "failed", "refused", "mixed"],
)  # fmt: skip
def test_the_types_do_not_depend_on_what_was_found(records: list[TrialRecord]) -> None:
    found = results.to_frame(records).dtypes.astype(str).to_dict()
    expected = results.to_frame(RECORDS).dtypes.astype(str).to_dict()
    common = [name for name in expected if not name.startswith("knob.")]
    assert {name: found[name] for name in common} == {name: expected[name] for name in common}
    assert (expected["trial"], expected["error"], expected["params"], expected["reason"]) == (
        "Int64", "float64", "Int64", "str"
    )  # fmt: skip


def test_the_files_read_back(folder: RunFolder) -> None:
    results.write_tables(folder, RECORDS)
    expected = results.to_frame(RECORDS)
    parquet = pd.read_parquet(folder.path / "trials.parquet")
    pd.testing.assert_frame_equal(parquet, expected)
    csv = pd.read_csv(folder.path / "trials.csv")
    assert list(csv.columns) == list(expected.columns)
    assert plain(csv[["trial", "error", "params", "reason", "errors", "knob.stage1.window"]]) == plain(
        expected[["trial", "error", "params", "reason", "errors", "knob.stage1.window"]]
    )
    assert csv["knob.stage1.subgroups"].dropna().tolist() == [2]
    assert not [path.name for path in folder.path.iterdir() if path.name.endswith(".part")]


def test_a_table_without_trials_is_written(folder: RunFolder) -> None:
    results.write_tables(folder, [])
    assert len(pd.read_parquet(folder.path / "trials.parquet")) == 0
    assert (folder.path / "trials.csv").read_text().startswith("trial,outcome,dataset,error,")


def test_a_failure_leaves_the_table_that_was_there(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    results.write_tables(folder, RECORDS[:1])
    before = (folder.path / "trials.csv").read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        results.write_tables(folder, RECORDS)
    assert (folder.path / "trials.csv").read_bytes() == before


def test_the_best_stands_in_its_own_folder(folder: RunFolder) -> None:
    best = results.write_best(folder, RECORDS)
    assert best is RECORDS[0]
    assert seqconv.read_architecture(folder.path / "best" / "architecture.yaml") == ARCHITECTURE
    assert read_yaml(folder.path / "best" / "result.yaml") == {
        "trial": 0, "error": 0.25, "epochs": 2, "outcome": "completed", "dataset": "digits", "fingerprint": "abc",
        **COSTS, "seconds": 3.5
    }  # fmt: skip
    over = record(7, COMPLETED, 0.5, 0.1, violations={"error": 0.25})
    assert results.write_best(folder, [*RECORDS, over]) is RECORDS[0]
    assert results.write_best(folder, [over]) is over
    assert read_yaml(folder.path / "best" / "result.yaml")["violations"] == {"error": 0.25}
    assert results.to_frame([RECORDS[0], over])["violations"].tolist()[1] == '{"error": 0.25}'
    better = record(6, COMPLETED, 0.5, 0.125)
    assert results.write_best(folder, [*RECORDS, better]) is better
    assert read_yaml(folder.path / "best" / "result.yaml")["trial"] == 6


def test_there_is_no_best_where_nothing_was_trained(folder: RunFolder) -> None:
    assert results.write_best(folder, RECORDS[2:4]) is None
    assert not (folder.path / "best").exists()


@pytest.mark.parametrize(("keep", "kept"), [(0, {5}), (1, {5, 6}), (2, {0, 5, 6}), (9, {0, 1, 5, 6})])
def test_the_weights_of_the_best_are_kept(folder: RunFolder, keep: int, kept: set[int]) -> None:
    records = [*RECORDS, record(6, COMPLETED, 0.5, 0.125)]
    for number in (0, 1, 2, 5, 6):
        folder.trial(number).mkdir()
        for name in ("model.pt", "checkpoint.pt", "metrics.csv"):
            (folder.trial(number) / name).touch()
    results.prune_weights(folder, records, keep, ("error",))
    for name in ("model.pt", "checkpoint.pt"):
        assert {int(path.parent.name) for path in folder.path.glob(f"trials/*/{name}")} == kept
    assert len(list(folder.path.glob("trials/*/metrics.csv"))) == 5


class TestFront:
    """Of error and params: trial 0 is beaten by 6, 7 is small, and 8 is the best but breaks a limit."""

    records = (
        *RECORDS,
        record(6, COMPLETED, 0.5, 0.125),
        record(7, COMPLETED, 0.5, 0.375, params=1000, latency=1.5),
        record(8, COMPLETED, 0.5, 0.0625, params=10, violations={"latency": 0.5}),
    )

    def written(self, folder: RunFolder) -> list[str]:
        return sorted(path.name for path in (folder.path / "pareto").iterdir())

    def test_each_of_its_trials_stands_in_a_folder(self, folder: RunFolder) -> None:
        found = results.write_front(folder, list(self.records), ("error", "params"))
        assert [record.number for record in found] == [6, 7]
        assert self.written(folder) == ["0006", "0007"]
        assert read_yaml(folder.path / "pareto" / "0007" / "result.yaml") == {
            "trial": 7, "error": 0.375, "epochs": 2, "outcome": "completed", "dataset": "digits", "fingerprint": "abc",
            **COSTS, "params": 1000, "latency": 1.5,
        }  # fmt: skip
        assert seqconv.read_architecture(folder.path / "pareto" / "0006" / "architecture.yaml") == ARCHITECTURE

    def test_what_has_left_it_is_removed(self, folder: RunFolder) -> None:
        results.write_front(folder, list(self.records[:6]), ("error", "params"))
        assert self.written(folder) == ["0000"]
        results.write_front(folder, list(self.records), ("error", "params"))
        assert self.written(folder) == ["0006", "0007"]

    def test_its_weights_are_kept_beside_those_of_the_best(self, folder: RunFolder) -> None:
        for number in (0, 1, 6, 7, 8):
            folder.trial(number).mkdir()
            (folder.trial(number) / "model.pt").touch()
        results.prune_weights(folder, list(self.records), 0, ("error", "params"))
        assert {int(path.parent.name) for path in folder.path.glob("trials/*/model.pt")} == {6, 7}


@pytest.mark.parametrize(
    ("takes", "done"),
    [(0.0, [15, 30, 45, 60, 75]), (0.5, [15, 30, 46, 61, 77]), (2.0, [15, 55])],
    ids=["quick", "within a twentieth", "slow"],
)
def test_what_is_done_now_and_then_takes_a_twentieth_of_the_time(
    monkeypatch: pytest.MonkeyPatch, takes: float, done: list[int]
) -> None:
    now, moments = [0.0], []

    def do() -> None:
        moments.append(now[0])
        now[0] += takes

    monkeypatch.setattr(results.time, "monotonic", lambda: now[0])
    now_and_then = results.NowAndThen(every=15)
    while now[0] < 80:
        now_and_then(do)
        now[0] += 1
    assert [int(moment) for moment in moments] == done


def test_a_member_of_a_population_has_its_recipe_and_where_its_weights_are_from(folder: RunFolder) -> None:
    first = record(0, COMPLETED, 0.5, 0.4, recipe={"learning_rate": 0.1})
    second = record(1, COMPLETED, recipe={"learning_rate": 0.08}, parent=0, begun=1)
    second = replace(second, errors={2: 0.3})
    rows = plain(results.to_frame([first, second]))
    assert [(row["parent"], row["begun"], row["recipe.learning_rate"]) for row in rows] == [
        (None, None, 0.1),
        (0, 1, 0.08),
    ]
    results.write_best(folder, [first, second])
    best = yaml.safe_load((folder.path / "best" / "result.yaml").read_text())
    assert best["recipe"] == [{"epochs": [1, 1], "learning_rate": 0.1}, {"epochs": [2, 2], "learning_rate": 0.08}]
