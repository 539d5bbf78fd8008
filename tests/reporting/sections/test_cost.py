from __future__ import annotations

from typing import Any

import pytest

from reporting.sections import cost
from searchers.record import COMPLETED, DUPLICATE, RUNNING
from tests.reporting.records import run, trial

EPOCH = {"epoch": 1.0, "seconds": 10.0, "build_seconds": 1.0, "data_seconds": 2.0, "train_seconds": 5.0,
         "evaluate_seconds": 2.0}  # fmt: skip
WHEN = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:00:20+00:00"}


def bars(section: Any) -> dict[str, float]:
    return {trace.name: trace.x[0] for trace in section.panels[0].figure.data}


def test_seconds_by_what_they_went_to() -> None:
    again = {**EPOCH, "build_seconds": 0.0, "train_seconds": 6.0}
    section = cost.section([run(trial(0, COMPLETED, 0.5, metrics=[EPOCH, again], seconds=25.0, **WHEN))])
    assert bars(section) == {"schedule": 5, "build": 1, "data": 4, "train": 11, "evaluate": 4}
    assert section.panels[0].figure.layout.xaxis.title.text == "seconds of all trials"
    assert [note.text for note in section.notes] == ["25 s of trials in 20 s, 1.2 at a time on average"]
    assert section.data is not None
    assert section.data.iloc[0].to_dict() == {
        "run": "a", "trial": 0, "build": 1, "data": 4, "train": 11, "evaluate": 4, "schedule": 5
    }  # fmt: skip


def test_what_an_older_version_did_not_record_is_not_split() -> None:
    old = {"epoch": 1.0, "seconds": 10.0, "train_seconds": float("nan")}
    section = cost.section([run(trial(0, COMPLETED, 0.5, metrics=[old], seconds=12.0))])
    assert bars(section) == {"schedule": 2, "train and evaluate": 10}


def test_a_trial_without_metrics_counts_as_a_whole() -> None:
    assert bars(cost.section([run(trial(0, COMPLETED, 0.5, seconds=12.0))])) == {"train and evaluate": 12}


def test_a_resumed_trial_may_have_trained_longer_than_its_last_process() -> None:
    section = cost.section([run(trial(0, COMPLETED, 0.5, metrics=[EPOCH, EPOCH], seconds=3.0))])
    assert "schedule" not in bars(section)


def test_other_parts_are_shown_by_their_names() -> None:
    section = cost.section([run(trial(0, RUNNING, 0.5, metrics=[{**EPOCH, "waiting_seconds": 4.0}]))])
    assert bars(section)["waiting"] == 4


def test_long_times_are_in_hours() -> None:
    section = cost.section([run(trial(0, COMPLETED, 0.5, seconds=36_000.0))])
    assert section.panels[0].figure.layout.xaxis.title.text == "hours of all trials"
    assert bars(section) == {"train and evaluate": pytest.approx(10)}


def test_gpu_utilisation_where_it_was_recorded() -> None:
    epochs = [{**EPOCH, "gpu_utilisation": 0.5}, {**EPOCH, "gpu_utilisation": 0.9}]
    trials = [trial(0, COMPLETED, 0.5, metrics=epochs), trial(1, COMPLETED, 0.5, metrics=[EPOCH])]
    _, panel = cost.section([run(*trials)]).panels
    assert (panel.name, panel.figure.data[0].x, panel.figure.data[0].y) == ("gpu", (0,), (70,))
    assert len(cost.section([run(trials[1])]).panels) == 1


def test_what_tracking_took_is_not_counted_as_scheduling() -> None:
    section = cost.section([run(trial(0, COMPLETED, 0.5, metrics=[EPOCH], seconds=15.0, tracked=2.0))])
    assert bars(section) == {"schedule": 3, "build": 1, "data": 2, "train": 5, "evaluate": 2, "track": 2}


def test_the_energy_of_the_gpus_is_told() -> None:
    epochs = [{**EPOCH, "gpu_joules": 1.8e6}, {**EPOCH, "gpu_joules": 0.9e6}, {**EPOCH, "gpu_joules": float("nan")}]
    section = cost.section([run(trial(0, COMPLETED, 0.5, metrics=epochs, seconds=30.0, **WHEN))])
    assert [note.text for note in section.notes] == [
        "30 s of trials in 20 s, 1.5 at a time on average, 0.75 kWh of GPU energy"
    ]


def test_nothing_to_show() -> None:
    section = cost.section([run(trial(0, DUPLICATE, 0.5, seconds=5.0), trial(1, RUNNING))])
    assert section.empty == "no trial has recorded its time yet"
