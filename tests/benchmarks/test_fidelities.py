from __future__ import annotations

from pathlib import Path

import fidelities
import numpy as np
import pandas as pd
import pytest

from tests.training.test_data import make
from training.trial import TrialConfig

FULL = TrialConfig(epochs=3, share=0.5, validation_limit=20, augment="crop")
TRIALS = fidelities.ladder(FULL, side=8)


def test_the_one_that_grows_ends_as_the_full_one() -> None:
    growing = TRIALS["growing"]
    assert (growing.share, growing.resolution) == ({1: 0.125, 3: 0.5}, {1: 4, 3: 8})
    assert TRIALS["full"] == FULL


def test_every_cheaper_fidelity_costs_less() -> None:
    data = make([200, 200, 100])
    works = {name: fidelities.work(trial, data) for name, trial in TRIALS.items()}
    assert works["full"] == works["width 1/2"] == 3 * (3 * 225 + 20) * 64
    assert all(work < works["full"] for name, work in works.items() if name not in ("full", "width 1/2"))


def test_architectures_are_different_and_the_same_each_time() -> None:
    space = fidelities._space()
    first = [network.fingerprint() for network in fidelities.architectures(space, 5)]
    assert len(set(first)) == 5
    assert [network.fingerprint() for network in fidelities.architectures(space, 6)][:5] == first
    with pytest.raises(ValueError, match="networks must be at most 216, as many as were found in windowed_small, got"):
        fidelities.architectures(space, 300)


def test_a_summary_compares_with_the_mean_of_the_full_fidelity() -> None:
    full = np.array([[0.1, 0.2], [0.2, 0.1], [0.3, 0.4], [0.5, 0.4], [0.6, 0.6], [0.7, 0.8]])
    rows = [
        {"fidelity": name, "seed": seed, "fingerprint": f"{i}", "error": error, "seconds": seconds}
        for i, errors in enumerate(full)
        for name, seed, error, seconds in [
            ("full", 0, errors[0], 10.0),
            ("full", 1, errors[1], 30.0),
            *((name, 0, -errors.mean() if name == "width 1/2" else errors.mean(), 5.0) for name in list(TRIALS)[1:]),
        ]
    ]
    report = fidelities.summary(pd.DataFrame(rows), TRIALS, dict.fromkeys(TRIALS, 2.0)).set_index("fidelity")
    assert list(report.index) == list(TRIALS)
    assert report["spearman"].drop("full").to_dict() == pytest.approx(
        {name: -1 if name == "width 1/2" else 1 for name in list(TRIALS)[1:]}
    )
    assert 0 < report.loc["full", "spearman"] < 1
    assert report["cost"].to_dict() == {name: 1 if name == "full" else 0.25 for name in TRIALS}
    assert (report["networks"] == 6).all()


def test_what_stands_in_the_table_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Made:
        def __init__(self, **_: object) -> None:
            pass

        def load(self) -> object:
            return make([200, 200, 100])

    def trained(network: object, trial: TrialConfig, data: object, seed: int) -> dict[str, object]:
        calls.append((network.fingerprint(), trial, seed))
        return {"fingerprint": calls[-1][0], "error": 0.5 + len(calls) / 100, "seconds": 1.0}

    calls: list[tuple[str, TrialConfig, int]] = []
    monkeypatch.setattr(fidelities, "Cifar10", Made)
    monkeypatch.setattr(fidelities, "trained", trained)
    arguments = ["--root", "there", "--out", str(tmp_path), "--images", "90", "--seeds", "2"]
    fidelities.main([*arguments, "--networks", "3"])
    assert len(calls) == 3 * (len(TRIALS) + 1) == len(pd.read_csv(tmp_path / "trainings.csv"))
    fidelities.main([*arguments, "--networks", "5"])
    assert len(calls) == len({(name, repr(trial), seed) for name, trial, seed in calls}) == 5 * (len(TRIALS) + 1)
    assert len(pd.read_csv(tmp_path / "fidelities.csv")) == len(TRIALS)
    assert "growing" in capsys.readouterr().out


def test_bad_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="error: networks must be an integer at least 1, got 0"):
        fidelities.main(["--root", "there", "--out", str(tmp_path), "--networks", "0"])
