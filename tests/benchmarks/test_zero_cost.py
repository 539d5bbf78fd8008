"""What the benchmark of zero-cost proxies makes of scores and errors."""

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zero_cost
from omegaconf import OmegaConf

from promotion.rank_correlation import counts_of, draws
from search_spaces.staged import StagedSpace
from seqconv import Architecture, Stage
from training.zero_cost.scoring import Batch, score

COUNTS = counts_of(draws(6, 200, seed=0))
ERRORS = np.array([0.3, 0.5, 0.1, 0.4, 0.9, 0.2])


def frame(scores: dict[str, list[list[float]]]) -> pd.DataFrame:
    """By proxy, scores of every seed."""
    rows = [
        (proxy, seed, f"architecture {i}", value, 0.1 + seed)
        for proxy, by_seed in scores.items()
        for seed, values in enumerate(by_seed)
        for i, value in enumerate(values)
    ]
    table = pd.DataFrame(rows, columns=["proxy", "seed", "fingerprint", "score", "seconds"])
    return table.set_index(["proxy", "seed", "fingerprint"]).sort_index()


@pytest.mark.parametrize("ratio", [1, 2, 4, 6])
@pytest.mark.parametrize("scores", [[3, 1, 2, 6, 5, 4], [1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1]])
def test_what_a_pre_filter_gains_is_the_mean_over_all_draws(scores: list[float], ratio: int) -> None:
    chosen = []
    for drawn in itertools.combinations(range(6), ratio):
        best = [i for i in drawn if scores[i] == max(scores[j] for j in drawn)]
        chosen.append(ERRORS[best].mean())
    gained = zero_cost.improvement(np.array(scores, dtype=float), ERRORS, COUNTS, ratio)
    assert gained.value == pytest.approx(ERRORS.mean() - np.mean(chosen), abs=1e-12)
    assert gained.low is not None and gained.high is not None
    assert gained.low <= gained.value <= gained.high


def test_more_proposals_than_architectures_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        zero_cost.improvement(ERRORS, ERRORS, COUNTS, 7)
    assert str(error.value) == "number of architectures must be an integer at least 7, got 6"


def test_a_proxy_that_knows_the_errors_ranks_first_and_its_opposite_last() -> None:
    report = zero_cost.correlations(
        frame(
            {
                "params": [[1, 2, 3, 5, 4, 6]],
                "naswot": [list(-ERRORS), list(ERRORS)],
                "zen": [list(ERRORS)],
                "macs": [[-math.inf, 2, 1, 1, 1, 1]],
            }
        ),
        np.stack([ERRORS, ERRORS], axis=1),
        ratio=2,
    ).set_index("proxy")
    assert (report.index[0], report.index[-1]) == ("naswot", "zen")
    assert report.loc["naswot", ["spearman", "kendall"]].tolist() == [1, 1]
    assert report.loc["zen", ["spearman", "kendall"]].tolist() == [-1, -1]
    assert report["n"].tolist() == [6] * 4
    assert report.loc["naswot", "seconds"] == pytest.approx(0.6)
    assert report.loc["naswot", "best_of_2"] > 0 > report.loc["zen", "best_of_2"]
    assert report.loc["naswot", "spearman_of_2_seeds"] != report.loc["naswot", "spearman"]


def test_architectures_with_every_seed_are_looked_at_by_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    errors = np.stack([ERRORS, [0.3, math.nan, 0.1, math.nan, 0.9, 0.2]], axis=1)
    scores = frame({"params": [list(-ERRORS)] * 2, "zen": [[1, 9, 2, 0, 5, 4], [1, 2, 3, 4, 5, 6]]})
    everything, repeated = zero_cost.reports(scores, errors, ratio=2)
    assert (everything["n"].tolist(), everything["seeds"].tolist()) == ([6, 6], [1, 1])
    assert (repeated["n"].tolist(), repeated["seeds"].tolist()) == ([4, 4], [2, 2])
    assert repeated.set_index("proxy").loc["params", "spearman"] == 1
    # Of scores 1, 2, 5, 4 and errors 0.3, 0.1, 0.9, 0.2: ranks 1 2 4 3 and 3 1 4 2 differ by 2, 1, 0, 1.
    assert repeated.set_index("proxy").loc["zen", "spearman"] == pytest.approx(-(1 - 6 * 6 / (4 * 15)))
    assert "1 seeds or more: mean error 0.4000" in capsys.readouterr().out


def test_the_better_baseline_is_the_one_to_beat() -> None:
    scores = {"params": [[1, 2, 3, 4, 5, 6]], "macs": [list(-ERRORS)], "zen": [list(-ERRORS)], "snip": [list(ERRORS)]}
    report = zero_cost.correlations(frame(scores), ERRORS[:, None], ratio=2).set_index("proxy")
    over = report["spearman_over_macs"]
    assert (over["macs"], over["zen"], over["snip"]) == (0, 0, -2)
    assert report.loc["zen", ["over_low", "over_high"]].tolist() == [0, 0]


def test_scores_are_kept_and_what_is_missing_is_added(tmp_path: Path) -> None:
    networks = [
        Architecture(stages=(Stage(blocks=1, group_width=width),), pyramid=(1,), widening=1) for width in (8, 16)
    ]
    table = {
        architecture.fingerprint(): zero_cost.Trained(architecture=architecture, errors=(0.5,))
        for architecture in networks
    }
    batch = Batch(torch.randn(4, 3, 8, 8), torch.arange(4))
    path = tmp_path / "scores.csv"
    first = zero_cost.scored(table, batch, ["synflow"], 1, path)
    lines = path.read_text().splitlines()
    assert lines[0] == "proxy,seed,fingerprint,score,seconds"
    assert len(lines) == 3
    for architecture in networks:
        expected = score("synflow", architecture, batch, classes=10, seed=0)
        assert first.loc[("synflow", 0, architecture.fingerprint()), "score"] == expected
    more = zero_cost.scored(table, batch, ["synflow", "params"], 2, path)
    assert len(more) == 8
    assert path.read_text().splitlines()[:3] == lines
    pd.testing.assert_frame_equal(more.loc[first.index], first)
    pd.testing.assert_frame_equal(zero_cost.scored(table, batch, ["synflow"], 1, path), first)


def space() -> StagedSpace:
    stage = {"blocks": 1, "groups": {"type": "categorical", "choices": [2, 4]}, "form": "plain"}
    window = {"type": "float", "low": 0.25, "high": 1.0, "step": 0.75}
    return StagedSpace(name="small", pyramid=(1,), widening=1, stage1={**stage, "window": window})


def row(groups: int, window: float, seed: int, error: float) -> dict[str, object]:
    values = {"stage1.groups": groups, "stage1.window": window}
    knobs = {f"knob.{name}": value for name, value in values.items()}
    return {**knobs, "fingerprint": space().decode(values).fingerprint(), "seed": seed, "validation_error_2": error}


def test_a_table_is_read_by_architecture(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    rows = [row(2, 1.0, 0, 0.5), row(4, 0.25, 0, 0.4), row(2, 1.0, 1, 0.6)]
    pd.DataFrame(rows).to_parquet(path)
    table = zero_cost.read_table(path, space(), 2)
    assert list(table) == sorted({str(entry["fingerprint"]) for entry in rows})
    assert all(trained.architecture.fingerprint() == fingerprint for fingerprint, trained in table.items())
    twice, once = (table[str(rows[i]["fingerprint"])].errors for i in (0, 1))
    assert twice == (0.5, 0.6)
    assert once[0] == 0.4 and math.isnan(once[1])


def test_a_row_of_another_space_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pd.DataFrame([{**row(2, 1.0, 0, 0.5), "fingerprint": "0123"}]).to_parquet(path)
    with pytest.raises(ValueError) as error:
        zero_cost.read_table(path, space(), 2)
    values = "{'stage1.groups': 2, 'stage1.window': 1.0}"
    assert str(error.value) == f"{path}: 0123 is no architecture of the space with {values}"


def test_the_space_of_a_table_is_the_one_in_conf() -> None:
    identity = zero_cost.command_line.instantiate(
        OmegaConf.load(zero_cost.command_line.CONF / "search_space" / "windowed.yaml")
    ).to_dict()
    assert zero_cost.read_space(identity).to_dict() == identity
    with pytest.raises(ValueError) as error:
        zero_cost.read_space({**identity, "widening": 7})
    assert str(error.value).endswith("windowed.yaml is another space than the one of the table")


def test_images_shrink_to_means_that_are_rounded() -> None:
    image = np.array([[[[1, 2, 255, 255], [3, 4, 255, 254], [0, 0, 9, 9], [0, 1, 9, 9]]]], dtype=np.uint8)
    assert zero_cost.shrunk(image, 2).tolist() == [[[[3, 255], [0, 9]]]]
    assert np.array_equal(zero_cost.shrunk(image, 4), image)
