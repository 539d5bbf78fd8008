from __future__ import annotations

import csv
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from training import checkpoint
from training.checkpoint import Checkpoint

IDENTITY = {"architecture": "0123456789abcdef", "seed": 0, "trial.learning_rate": 0.1, "trial.share": None}
HISTORY = [{"epoch": 1, "validation_error": 0.5}, {"epoch": 2, "validation_error": 0.25}]


def example(**changes: Any) -> Checkpoint:
    state = {"model": {"weight": torch.arange(4.0)}, "optimizer": {"lr": 0.1, "state": {0: None}}}
    return Checkpoint(**{"identity": dict(IDENTITY), "history": HISTORY, "state": state, **changes})


def test_it_reads_back_what_was_saved(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, example())
    loaded = checkpoint.load(tmp_path, IDENTITY)
    assert loaded is not None
    assert (loaded.identity, loaded.history) == (IDENTITY, HISTORY)
    assert loaded.state is not None
    assert torch.equal(loaded.state["model"]["weight"], torch.arange(4.0))
    assert loaded.state["optimizer"] == {"lr": 0.1, "state": {0: None}}


def test_no_checkpoint_is_none_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert checkpoint.load(tmp_path, IDENTITY) is None
    assert caplog.text == ""


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "other_content"])
def test_a_damaged_file_is_logged_with_the_reason_and_left_out(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(tmp_path, example())
    path = tmp_path / "checkpoint.pt"
    if damage == "other_content":
        torch.save({"weights": torch.zeros(1)}, path)
    else:
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"not weights"}[damage])
    content = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        assert checkpoint.load(tmp_path, IDENTITY) is None
    (record,) = caplog.records
    start = f"{path} is damaged, training starts from scratch, it is now checkpoint.pt.damaged: "
    assert record.getMessage().startswith(start)
    assert len(record.getMessage()) > len(start)
    assert (tmp_path / "checkpoint.pt.damaged").read_bytes() == content
    assert not path.exists()


def test_pickled_code_is_not_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "code_was_run"),)

    torch.save({"identity": Touch(), "history": [], "state": None}, tmp_path / "checkpoint.pt")
    assert checkpoint.load(tmp_path, IDENTITY) is None
    assert not (tmp_path / "code_was_run").exists()
    assert "is damaged" in caplog.text


def test_the_checkpoint_of_another_trial_is_refused_with_both_values(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, example())
    with pytest.raises(ValueError) as error:
        checkpoint.load(tmp_path, {**IDENTITY, "seed": 7, "trial.learning_rate": 0.2})
    assert str(error.value) == (
        f"{tmp_path / 'checkpoint.pt'} belongs to another trial: seed is 0 there and 7 here; "
        "trial.learning_rate is 0.1 there and 0.2 here. Use another folder, or delete the file"
    )


def test_a_key_that_only_the_checkpoint_has_counts_as_a_difference(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, example(identity={**IDENTITY, "trial.removed": 3}))
    with pytest.raises(ValueError, match=r"trial\.removed is 3 there and None here"):
        checkpoint.load(tmp_path, IDENTITY)


def test_metrics_are_one_row_an_epoch_with_numbers_in_full(tmp_path: Path) -> None:
    checkpoint.save_metrics(tmp_path, [{"epoch": 1, "error": 1 / 3}, {"epoch": 2, "error": 0.1}])
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert [float(row["error"]) for row in rows] == [1 / 3, 0.1]


def test_weights_are_read_without_pickled_code(tmp_path: Path) -> None:
    checkpoint.save_weights(tmp_path, torch.nn.Linear(2, 3).state_dict())
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    assert {name: tuple(w.shape) for name, w in weights.items()} == {"weight": (3, 2), "bias": (3,)}


def test_what_others_could_have_gone_on_from_is_removed(tmp_path: Path) -> None:
    names = ["checkpoint.pt", "checkpoint-0001.pt", "checkpoint-0012.pt", "model.pt"]
    trial = tmp_path / "trials" / "0003"
    trial.mkdir(parents=True)
    for name in names:
        (trial / name).touch()
    checkpoint.remove_kept(tmp_path / "trials")
    assert {path.name for path in trial.iterdir()} == {"checkpoint.pt", "model.pt"}
