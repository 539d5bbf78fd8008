"""What the benchmark of predictors makes of numbers and errors."""

import numpy as np
import pytest
from predictors import MODELS, correlations, learning, out_of_fold

GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.normal(size=(40, 3))
TRUTH = ROWS @ np.array([1.0, -0.5, 0.2])
ERRORS = np.column_stack([TRUTH + 0.1 * GENERATOR.normal(size=40), np.where(np.arange(40) % 3, np.nan, TRUTH)])


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_a_slope(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictors.REPEATS", 1)
    expected = out_of_fold(MODELS[model], ROWS, ERRORS[:, 0])
    assert np.corrcoef(expected, TRUTH)[0, 1] > 0.6


def test_more_results_teach_more_and_noise_nothing() -> None:
    few, many = (learning(MODELS["linear"], ROWS, ERRORS[:, 0], TRUTH, number) for number in (5, 30))
    assert few < many
    assert many > 0.95
    assert abs(learning(MODELS["linear"], ROWS, GENERATOR.normal(size=40), TRUTH, 16)) < 0.5


def test_the_rows_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictors.MODELS", {"linear": MODELS["linear"]})
    macs, error, noise, features = correlations({"noise": ROWS[::-1], "features": ROWS}, -TRUTH, ERRORS)
    assert (macs["input"], macs["model"], noise["input"], features["input"]) == ("macs", "none", "noise", "features")
    assert macs["others"] == 1
    assert (error["input"], error["same_seed"]) == ("error", 1)
    assert features["same_seed"] > 0.9 > noise["same_seed"]
    assert features["others_low"] <= features["others"] <= features["others_high"]
    assert {"after_16", "after_32"} <= features.keys() and "after_64" not in features
