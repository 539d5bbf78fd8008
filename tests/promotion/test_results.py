from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from promotion import results
from promotion.entrants import Entrant
from promotion.folder import PromotionFolder
from promotion.results import SeedResult, StageResults
from promotion.training import DIVERGED, FAILED, Failure, Training
from seqconv import measure
from seqconv.serialization import read_yaml
from tests.promotion.fakes import candidate, metrics, write_epochs
from training.full.model import ModelSpec

TRACEBACK = "Traceback (most recent call last):\n  in f\nValueError: no learning today"


def entrant(name: str, blocks: int = 1, proxy: float | None = None) -> Entrant:
    chosen = candidate(name, blocks, proxy_error=proxy)
    assert chosen.architecture is not None
    spec = ModelSpec(architecture=chosen.architecture)
    return Entrant(candidate=chosen, spec=spec, cost=measure(chosen.architecture, resolution=16, classes=10))


def ended(place: PromotionFolder, name: str, seed: int, *errors: float, failure: Failure | None = None) -> Training:
    """A training that came to its end with these errors by epoch."""
    folder = place.seed(name, "cifar", seed)
    write_epochs(folder, *(metrics(epoch, error) for epoch, error in enumerate(errors, start=1)))
    training = Training(candidate=name, stage="cifar", seed=seed, folder=folder, spec=entrant(name).spec)
    results.write_end(training, failure)
    return training


@pytest.fixture
def place(tmp_path: Path) -> PromotionFolder:
    """Two candidates with two seeds each: of the worse one, one failed."""
    made = PromotionFolder(tmp_path / "one")
    ended(made, "trial-0001", 0, 0.5, 0.3)
    ended(made, "trial-0001", 1, 0.5, failure=Failure(outcome=FAILED, reason=TRACEBACK))
    ended(made, "trial-0002", 0, 0.1, 0.2)
    ended(made, "trial-0002", 1, 0.5, 0.1)
    return made


def read(place: PromotionFolder, seeds: int = 2, names: Sequence[str] = ("trial-0001", "trial-0002")) -> StageResults:
    entrants = [entrant(name, i + 1, proxy=0.25 if i == 0 else None) for i, name in enumerate(names)]
    return results.read_stage(place, "cifar", entrants, seeds)


def test_a_training_is_read_off_its_folder(place: PromotionFolder) -> None:
    found = results.read_seed(place.seed("trial-0002", "cifar", 0))
    assert (found.outcome, found.error, found.reason) == ("completed", 0.2, None)
    assert found.row() == {
        "outcome": "completed",
        "error": 0.2,
        "epochs": 2,
        "reason": None,
        "test_error": 0.2,
        "ema_error": None,
        "skipped": 0.0,
        "best_error": 0.1,
        "seconds": 20.0,
        "images_per_second": 100.0,
    }


def test_what_has_not_begun_and_what_has_not_ended(place: PromotionFolder, tmp_path: Path) -> None:
    assert results.read_seed(tmp_path / "missing") == SeedResult(outcome="open")
    begun = place.seed("trial-0001", "cifar", 7)
    write_epochs(begun, metrics(1, 0.5))
    found = results.read_seed(begun)
    assert (found.outcome, found.error, len(found.epochs)) == ("open", None, 1)


def test_a_failure_keeps_its_epochs_and_its_reason(place: PromotionFolder) -> None:
    found = results.read_seed(place.seed("trial-0001", "cifar", 1))
    assert (found.outcome, found.error, found.reason) == ("failed", None, TRACEBACK)
    assert found.row()["reason"] == "ValueError: no learning today"
    assert (found.row()["epochs"], found.row()["test_error"]) == (1, 0.5)


def test_averaged_weights_are_the_ones_that_count(place: PromotionFolder) -> None:
    folder = place.seed("trial-0003", "cifar", 0)
    write_epochs(folder, metrics(1, 0.1, ema_error=0.5), metrics(2, 0.4, ema_error=0.25))
    row = results.read_seed(folder).row()
    assert (row["test_error"], row["ema_error"], row["best_error"]) == (0.4, 0.25, 0.25)
    results.write_end(ended(place, "trial-0003", 1), None)
    (folder / "result.yaml").write_text("{outcome: completed, reason: null}")
    assert results.read_seed(folder).error == 0.25


def test_a_result_that_is_damaged(place: PromotionFolder) -> None:
    file = place.seed("trial-0002", "cifar", 0) / "result.yaml"
    file.write_text("{outcome: completed}")
    with pytest.raises(ValueError) as error:
        read(place)
    assert str(error.value) == f"{file}: missing key 'reason'; required are outcome, reason"


def test_the_lowest_mean_over_the_seeds_comes_first(place: PromotionFolder) -> None:
    ended(place, "trial-0003", 0, 0.05, failure=Failure(outcome=DIVERGED, reason="Diverged: inf"))
    found = read(place, names=("trial-0001", "trial-0002", "trial-0003"))
    assert [e.name for e in found.best_first()] == ["trial-0002", "trial-0001"]
    assert found.errors("trial-0002") == [0.2, 0.1]
    assert found.errors("trial-0003") == []
    assert found.failed == 1, "one that diverged would do so again"


def test_seeds_that_diverged_are_not_left_out_of_the_ranking(place: PromotionFolder) -> None:
    """One lucky seed of two does not beat two."""
    ended(place, "trial-0003", 0, 0.01)
    ended(place, "trial-0003", 1, 0.5, failure=Failure(outcome=DIVERGED, reason="Diverged: inf"))
    found = read(place, names=("trial-0002", "trial-0003"))
    assert [e.name for e in found.best_first()] == ["trial-0002", "trial-0003"]


def test_seeds_that_were_trained_before_are_not_left_out(place: PromotionFolder) -> None:
    assert read(place, seeds=1).errors("trial-0002") == [0.2, 0.1]
    assert [len(of) for of in read(place, seeds=3).seeds.values()] == [3, 3]


def test_the_tables(place: PromotionFolder) -> None:
    results.write_tables(place, [read(place)])
    rows = pd.read_csv(place.path / "results.csv")
    assert list(rows["candidate"]) == ["trial-0001"] * 2 + ["trial-0002"] * 2
    assert list(rows["seed"]) == [0, 1, 0, 1]
    assert list(rows["outcome"]) == ["completed", "failed", "completed", "completed"]
    assert [None if e != e else e for e in rows["error"]] == [0.3, None, 0.2, 0.1]
    assert list(rows["params"]) == [e.cost.params for e in read(place).entrants for _ in range(2)]
    assert list(rows["reason"].dropna()) == ["ValueError: no learning today"]
    summary = pd.read_csv(place.path / "summary.csv")
    assert list(summary["mean"]) == [0.3, pytest.approx(0.15)]
    assert math.isnan(summary["std"][0]) and summary["std"][1] == pytest.approx(0.1 / 2**0.5)
    assert list(summary["seeds"]) == [1, 2] and list(summary["failed"]) == [1, 0]
    assert summary["proxy_error"][0] == 0.25 and math.isnan(summary["proxy_error"][1])
    assert summary["network"][0].startswith("cifar: W1 ")
    assert not list(place.path.glob(".*.part"))


def test_the_best_names_the_seed_to_take(place: PromotionFolder) -> None:
    assert results.write_best(place, read(place)).name == "trial-0002"
    best = read_yaml(place.path / "best.yaml")
    assert best.pop("mean") == pytest.approx(0.15) and best.pop("std") == pytest.approx(0.1 / 2**0.5)
    assert best == {
        "candidate": "trial-0002",
        "stage": "cifar",
        "seeds": 2,
        "seed": 1,
        "folder": "candidates/trial-0002/cifar/seed-1",
    }


def test_the_table_for_the_terminal(place: PromotionFolder) -> None:
    ended(place, "trial-0003", 0, failure=Failure(outcome=DIVERGED, reason="Diverged: inf"))
    console = Console(width=120)
    with console.capture() as shown:
        console.print(results.table(read(place, names=("trial-0001", "trial-0002", "trial-0003"))))
    head, *rows = (" ".join(line.split()) for line in shown.get().splitlines())
    assert head == "cifar error % seeds of the search params MACs depth"
    assert rows[0].startswith("trial-0002 15.00 ± 7.07 2 of 2 ")
    assert rows[1].startswith("trial-0001 30.00 1 of 2 25.00 ")
    assert rows[2].startswith("trial-0003 none 0 of 2 ")


def test_without_a_search_there_is_no_column_for_it(place: PromotionFolder) -> None:
    found = StageResults(stage="cifar", entrants=[entrant("trial-0002")], seeds=read(place).seeds)
    assert [column.header for column in results.table(found).columns][3] == "params"


def test_errors_by_seed_have_gaps(place: PromotionFolder) -> None:
    table = results.by_seed(read(place), ["trial-0002", "other", "trial-0001"])
    assert table[0] == [0.2, 0.1]
    assert [math.isnan(error) for error in table[1]] == [True, True]
    assert table[2][0] == 0.3 and math.isnan(table[2][1])
