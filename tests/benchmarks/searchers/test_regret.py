"""The command at a tiny size."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import regret
from repeats import Place, load
from simulator import Setting, simulate
from trajectory import Regret

from searchers.algorithms.random import RandomSearch
from searchers.searcher import Problem

TINY = ["--repeats", "3", "--budgets", "2,5"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """A Parquet table with two epochs and one knob."""
    path = tmp_path / "curves.parquet"
    numbers = range(1, 31)
    pd.DataFrame(
        {
            "knob.x": numbers,
            "validation_error_1": [0.9 - 0.01 * n for n in numbers],
            "validation_error_3": [0.8 - 0.02 * n for n in numbers],
            "seconds_1": 600.0,
            "seconds_3": 1800.0,
            "macs": [10.0 * n for n in numbers],
        }
    ).to_parquet(path)
    return path


def test_it_prints_and_writes_mean_regrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    regret.main(["--contenders", "random", "optuna_nsga2", *TINY, "--observe", "seed", "--out", str(tmp_path)])
    name = "nas_bench_201_cifar10_seed"
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.csv", f"{name}_curves.csv", f"{name}.png"}
    table = load(Place())
    problem = Problem(space=table.space, epochs=200)
    expected = [
        Regret(table).after_each(
            simulate(table, problem, RandomSearch().bind(problem), Setting(evaluations=5, observe="seed", seed=seed))
        )
        for seed in range(3)
    ]
    found = {(row["contender"], row["axis"], row["budget"]): row for row in rows(tmp_path / f"{name}.csv")}
    assert [key for key in found if key[1] == "evaluations"] == [
        (contender, "evaluations", budget) for contender in ("random", "optuna_nsga2") for budget in ("2.0", "5.0")
    ]
    for budget in (2, 5):
        row = found["random", "evaluations", f"{budget}.0"]
        values = [search[budget - 1] for search in expected]
        assert float(row["mean"]) == pytest.approx(np.mean(values), rel=1e-4)
        assert float(row["standard_error"]) == pytest.approx(np.std(values, ddof=1) / 3**0.5, rel=1e-4)
        assert (row["table"], row["observe"], row["repeats"]) == ("nas_bench_201_cifar10", "seed", "3")
    printed = capsys.readouterr().out
    assert "nas_bench_201_cifar10, observed: seed, workers: 1, 3 repeats\n" in printed
    assert f"{np.mean([search[4] for search in expected]):.4f} ± " in printed
    assert "regret: random is where random ended after " in printed


def test_stopping_early_is_compared_by_time(curves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--table", str(curves), "--hours", "4", "--out", str(tmp_path), "--name", "stopped", "--workers", "2"]
    regret.main(["--contenders", "random", "random+asha", *TINY, *given])
    points = rows(tmp_path / "stopped_curves.csv")
    trials = {row["contender"]: float(row["at"]) for row in points if row["axis"] == "evaluations"}
    assert trials["random"] == trials["random+asha"] > 16, "until one of them could train no more than that in 4 hours"
    assert max(float(row["at"]) for row in points if row["axis"] == "hours") == 4
    means = {
        contender: [float(p["mean"]) for p in points if (p["contender"], p["axis"]) == (contender, "hours")]
        for contender in ("random", "random+asha")
    }
    for row in (row for row in rows(tmp_path / "stopped.csv") if row["axis"] == "hours"):
        place = next(i for i, mean in enumerate(means[row["contender"]]) if mean <= means["random"][-1])
        assert float(row["arrival"]) == pytest.approx((place + 1) / 200)
    assert "curves, observed: mean, workers: 2, 3 repeats, 4 simulated hours\n" in capsys.readouterr().out


def test_hypervolume_of_several_objectives(curves: Path, tmp_path: Path) -> None:
    """Who has a low error has many multiply-adds here: nothing is better than both medians."""
    given = ["--table", str(curves), "--objectives", "error,macs", "--out", str(tmp_path)]
    regret.main(["--contenders", "random", "optuna_tpe", *TINY, *given])
    found = rows(tmp_path / "curves_error-macs.csv")
    assert {row["measure"] for row in found} == {"volume_worst"}
    assert all(0 < float(row["mean"]) < 1 for row in found)


def test_hypervolume_on_nas_bench_201(tmp_path: Path) -> None:
    regret.main(["--contenders", "random", *TINY, "--objectives", "error,macs", "--out", str(tmp_path)])
    found = rows(tmp_path / "nas_bench_201_cifar10_error-macs.csv")
    assert [row["measure"] for row in found if row["axis"] == "evaluations"] == ["volume_worst"] * 2 + [
        "volume_median"
    ] * 2
    assert all(0 < float(row["mean"]) <= 1 for row in found)


def test_processes_change_nothing(curves: Path, tmp_path: Path) -> None:
    given = [
        "--contenders",
        "random",
        "--repeats",
        "7",
        "--budgets",
        "4",
        "--table",
        str(curves),
        "--out",
        str(tmp_path),
    ]
    for name, processes in (("one", "1"), ("two", "2")):
        regret.main([*given, "--processes", processes, "--name", name])
    assert (tmp_path / "one_curves.csv").read_text() == (tmp_path / "two_curves.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contenders", "evolutoin"], "error: searcher must be one of "),
        (
            ["--contenders", "random", "--table", "x.csv"],
            "error: table must be nas_bench_201 or a file FILE.parquet, got",
        ),
        (["--contenders", "random", "--repeats", "0"], "error: repeats must be an integer at least 1, got 0"),
        (["--contenders", "random", "--processes", "0"], "error: processes must be an integer at least 1, got 0"),
        (["--contenders", "random", "--objectives", "macs"], "error: objective must contain error"),
        (["--contenders", "random", "--objectives", "error,serial_depth"], "error: table nas_bench_201_cifar10 knows "),
        (["--contenders", "random", "--hours", "-1"], "error: seconds must be a number above 0"),
    ],
)
def test_bad_input_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        regret.main([*arguments, "--out", str(tmp_path)])
    assert str(error.value.code).startswith(message)
    assert not list(tmp_path.iterdir())


def test_an_objective_without_a_choice_is_refused(curves: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(curves)
    frame.assign(macs=1.0).to_parquet(tmp_path / "flat.parquet")
    with pytest.raises(SystemExit, match=r"^error: table flat: one of error, macs is the same for all architectures$"):
        regret.main(["--contenders", "random", "--table", str(tmp_path / "flat.parquet"), "--objectives", "error,macs"])


def test_budgets_are_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        regret.main(["--contenders", "random", "--budgets", "50,0"])
    assert "must be numbers above 0 such as 50,100,200, got '50,0'" in capsys.readouterr().err
