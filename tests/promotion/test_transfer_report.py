"""The table and the lines of rank transfer."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from promotion.transfer import transfer
from promotion.transfer_report import lines, rung_lines, to_frame, write_csv
from searchers.record import COMPLETED, PRUNED, RUNNING, TrialRecord
from tests.promotion.transfers import made

NAN = math.nan
NAMES = ["a", "b", "c", "d"]
PROXY = [0.4, 0.3, 0.5, 0.6]
BY_EPOCH = [{1: 0.5, 2: 0.4}, {1: 0.8, 2: 0.3}, {1: 0.7, 2: 0.5}, {1: 0.6, 2: 0.6}]
FULL = [[0.15, 0.14], [0.1, 0.12], [0.13, 0.15], [0.2, 0.18]]
SIX = [[1, 2], [0, 2], [2, 2], [3, 5], [5, 5], [4, 4]]
FOUND = transfer(NAMES, proxy=PROXY, proxy_errors=BY_EPOCH, stages={"cifar": FULL}, resamples=300)


def record(number: int, outcome: str, *errors: float) -> TrialRecord:
    return TrialRecord(number=number, outcome=outcome, values={}, errors=dict(enumerate(errors, start=1)))


def test_a_row_a_comparison() -> None:
    frame = to_frame(made(12, stages=("cifar", "imagenet"), stopped=2, resamples=50))
    heads = frame[["earlier", "later", "epoch", "n", "left_out"]]
    assert [tuple(None if pd.isna(v) else v for v in row) for row in heads.itertuples(index=False)] == [
        ("proxy", "cifar", None, 12, 0), ("proxy", "imagenet", None, 6, 6), ("cifar", "imagenet", None, 6, 6),
        ("proxy", "cifar", 1, 12, 0), ("proxy", "cifar", 3, 12, 0), ("proxy", "cifar", 9, 10, 2),
        ("proxy", "imagenet", 1, 6, 6), ("proxy", "imagenet", 3, 6, 6), ("proxy", "imagenet", 9, 6, 6),
    ]  # fmt: skip


def test_a_row_says_what_was_found() -> None:
    six = transfer([*"abcdef"], proxy=range(6), proxy_errors=[{}] * 6, stages={"cifar": SIX})
    row, found = to_frame(six).iloc[0].to_dict(), six.stages[0].agreement
    noise = found.ceiling
    assert row == {
        "earlier": "proxy", "later": "cifar", "epoch": None, "n": 6, "left_out": 0, "seeds": 2, "failed": 0,
        "tau": found.tau.value, "tau_low": found.tau.low, "tau_high": found.tau.high,
        "rho": found.rho.value, "rho_low": found.rho.low, "rho_high": found.rho.high, "chance": found.chance,
        "top1": 0, "top3": 1, "top5": pytest.approx(0.8), "regret": pytest.approx(0.5),
        "seeds_tau": noise.tau.value, "seeds_tau_low": noise.tau.low, "seeds_tau_high": noise.tau.high,
        "seeds_rho": noise.rho.value, "seeds_rho_low": noise.rho.low, "seeds_rho_high": noise.rho.high,
        "tau_reachable": noise.tau_reachable, "rho_reachable": noise.rho_reachable, "resamples": found.resamples,
        "reason": pytest.approx(NAN, nan_ok=True),
    }  # fmt: skip
    assert not any(pd.isna(row[name]) for name in ("tau_low", "rho_high", "seeds_tau", "rho_reachable", "chance"))


def test_the_types_do_not_depend_on_what_was_found() -> None:
    nothing = transfer([], proxy=[], proxy_errors=[], stages={})
    few = transfer(["a"], proxy=[0.5], proxy_errors=[{}], stages={"cifar": [[NAN]]})
    types = to_frame(FOUND).dtypes.astype(str).to_dict()
    assert (types["epoch"], types["tau"], types["reason"]) == ("Int64", "float64", "str")
    for found, rows in ((nothing, 0), (few, 1)):
        assert to_frame(found).dtypes.astype(str).to_dict() == types
        assert len(to_frame(found)) == rows


def test_the_file_reads_back(tmp_path: Path) -> None:
    write_csv(FOUND, tmp_path / "transfer.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "transfer.csv"), to_frame(FOUND), check_dtype=False)
    assert [path.name for path in tmp_path.iterdir()] == ["transfer.csv"]


def test_a_failure_leaves_the_table_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(FOUND, tmp_path / "transfer.csv")
    before = (tmp_path / "transfer.csv").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_csv(FOUND, tmp_path / "transfer.csv")
    assert (tmp_path / "transfer.csv").read_bytes() == before


def test_the_lines_say_how_well_the_ranking_held() -> None:
    assert lines(FOUND) == [
        "proxy -> cifar: Kendall's tau 0.67, Spearman's rho 0.80, over 4 architectures, 2 seeds",
        "  by chance as high in 16.7% of cases; 4 architectures are few: read this rather than the correlations",
        "  kept 100% of the best 1, 100% of the best 3; the best by proxy is 0.0000 above the lowest error",
        "  between seeds tau is 0.67, so that a perfect proxy would reach 0.83",
        "tau of the proxy with cifar, by epoch of the proxy: 1: -0.67, 2: 0.67",
    ]


def test_the_lines_say_what_is_missing() -> None:
    stages = {"cifar": [*FULL, [NAN, NAN], [NAN, 0.3]]}
    proxy_errors = [*BY_EPOCH, {1: 0.5}, {}]
    found = transfer("abcdef", proxy=[*PROXY, 0.5, 0.6], proxy_errors=proxy_errors, stages=stages)
    first, *_ = lines(found)
    assert first.endswith("over 5 architectures, 2 seeds, 1 without both errors left out, 1 trainings without an error")
    few = transfer("ab", proxy=[0.1, 0.2], proxy_errors=[{1: 0.1}, {1: 0.2}], stages={"cifar": [[0.1], [NAN]]})
    assert lines(few) == [
        "proxy -> cifar: a ranking needs 3 architectures with both errors, there are 1, 1 without both errors left out"
    ]


def test_the_lines_say_what_limits() -> None:
    errors = [0.1 * n for n in range(12)]
    best_of_noise = [errors[i] for i in (5, 0, 9, 2, 11, 7, 1, 10, 3, 8, 4, 6)]
    by_epoch = [{1: error} for error in best_of_noise]
    surely = {"cifar": [[error, error] for error in errors]}
    found = transfer([*"abcdefghijkl"], proxy=best_of_noise, proxy_errors=by_epoch, stages=surely)
    assert lines(found)[3] == (
        "  between seeds tau is 1.00 [1.00, 1.00], so that a perfect proxy would reach 1.00: the proxy limits"
    )
    once = transfer([*"abcdefghijkl"], proxy=errors, proxy_errors=by_epoch, stages={"cifar": [[e] for e in errors]})
    assert lines(once)[0].endswith("over 12 architectures, one seed")
    assert lines(once)[1] == "  by chance as high in 0.0% of cases"
    assert lines(once)[3] == "  one seed: the noise between seeds is not known; train with two or more"


def test_many_epochs_are_not_all_told() -> None:
    last = lines(made(5, epochs=tuple(range(1, 31)), resamples=20))[-1]
    assert [part.split(": ")[-2].split(" ")[-1] for part in last.split("], ")] == ["1", "2", "4", "8", "15", "30"]


def test_the_rungs_of_a_search() -> None:
    trained = [record(n, COMPLETED, 0.1 * n, 0.1 * (n % 4), 0.1 * n) for n in range(8)]
    assert rung_lines(trained) == [
        "how well the error after an early epoch ranks what was trained for 3, 95 % intervals:",
        "  epoch 1: Kendall's tau 1.00 [1.00, 1.00], Spearman's rho 1.00 [1.00, 1.00], over 8 trials",
        "  epoch 2: Kendall's tau 0.46 [-0.14, 0.96], Spearman's rho 0.49 [-0.25, 0.98], over 8 trials",
    ]
    stopped = [record(n, PRUNED, 0.9) for n in range(8, 20)]
    found = rung_lines(trained + stopped)
    assert found[1].endswith("over 8 of 20 trials") and found[2].endswith("over 8 trials")
    assert found[3:] == [
        "  the others did not get there, most for their early errors: among all, agreement may be higher"
    ]


def test_where_few_reach_the_last_rung_the_one_that_ten_reach_is_told_too() -> None:
    errors = [0.1 * n for n in range(12)]
    trained = [record(n, COMPLETED if n < 6 else PRUNED, *([e] * (3 if n < 6 else 2))) for n, e in enumerate(errors)]
    heads = [line for line in rung_lines(trained) if line.startswith("how")]
    assert [head.split("trained for ")[1] for head in heads] == ["2, 95 % intervals:", "3, 95 % intervals:"]
    assert rung_lines(trained)[1].endswith("over 12 trials") and "6 of 12" in rung_lines(trained)[3]
    only_four = [record(n, PRUNED, e, e) if n > 3 else record(n, COMPLETED, e, e, e) for n, e in enumerate(errors)]
    assert [line for line in rung_lines(only_four) if line.startswith("how")] == heads[:1]


@pytest.mark.parametrize("records", [[], [record(0, RUNNING)], [record(n, COMPLETED, 0.1, 0.2 * n) for n in range(5)]])
def test_a_search_that_shows_nothing_gets_no_lines(records: list[TrialRecord]) -> None:
    """The last: all have the same error after the first epoch."""
    assert rung_lines(records) == []


def test_of_many_rungs_some_are_told() -> None:
    records = [record(n, COMPLETED, *(0.1 * n for _ in range(51))) for n in range(5)]
    epochs = [int(line.split()[1].rstrip(":")) for line in rung_lines(records)[1:]]
    assert epochs == [1, 2, 5, 10, 23, 50]


def test_the_lines_are_of_the_agreement_that_is_given() -> None:
    pair = replace(FOUND.stages[0], earlier="cifar", later="imagenet")
    assert "the best by cifar is" in lines(replace(FOUND, stages=(pair,)))[2]
