"""What pre-filters bring on the table of windows."""

import csv
from pathlib import Path

import pytest
from prefilters import TABLE, main, over, search, several_seeds

from seqconv import Architecture


def test_only_architectures_of_several_seeds_may_be_trained() -> None:
    table = several_seeds(TABLE)
    assert len(table) == 72
    problem = over(table)
    known = next(iter(table.space.entries.values()))
    vector = next(dict(zip(table.space.names, key, strict=True)) for key in table.space.entries)
    assert problem.candidate(vector) == known.name
    assert isinstance(problem.space.decode(vector), Architecture)
    assert problem.candidate({**vector, "stage1.groups": 4}) is None


def test_a_search_with_the_errors_as_scores_begins_with_good_ones() -> None:
    table = several_seeds(TABLE)
    errors = {entry.name: -float(table.truth[entry.row]) for entry in table.space.entries.values()}
    told = search(table, over(table), "random", "zen", errors, trials=2, ratio=30, seed=0, evaluations=6)
    alone = search(table, over(table), "random", "none", {}, trials=None, ratio=30, seed=0, evaluations=6)
    ranks = table.truth.argsort().argsort()
    assert max(ranks[told.rows[:2]]) < 10
    assert max(ranks[told.rows[2:]]) >= 10
    assert max(ranks[alone.rows]) >= 10


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results.csv"
    settings = ["--searchers", "random", "--repeats", "2", "--budgets", "2", "18", "--trials", "3"]
    main([*settings, "--prefilters", "none", "zen", "predictor", "--out", str(out)])
    assert capsys.readouterr().out.startswith("72 architectures; mean regret in points at 2, 18 trials\nrandom ")
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert [(row["prefilter"], row["trials"], row["evaluations"]) for row in rows] == [
        ("none", "", "2"), ("none", "", "18"), ("zen", "3", "2"), ("zen", "3", "18"),
        ("predictor", "", "2"), ("predictor", "", "18"),
    ]  # fmt: skip
    assert rows[0]["mean"] == rows[4]["mean"]


def test_an_unknown_searcher_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^error: searcher must be one of .*, got 'randon'"):
        main(["--searchers", "randon", "--repeats", "1"])
