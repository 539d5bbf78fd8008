"""How well models rank architectures that they were not fitted to: features of the adjacency, knob values, costs.

    python benchmarks/predictors.py experiments/window_table --out experiments/predictor

Writes correlations.csv, and prints it. Models learn from one seed of training; they are judged by that seed, and by the
mean of the seeds that they have not seen, of the architectures that were trained with several.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata
from sklearn.base import RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import RepeatedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from zero_cost import read_space, read_table

from promotion.agreement import agreement
from promotion.rank_correlation import Array, bootstrapped, correlation, counts_of, draws, spearman
from promotion.seed_noise import mean_over_seeds
from searchers.algorithms.surrogate import Encoding
from searchers.predictor import FOLDS, REPEATS, vectors
from seqconv import measure
from seqconv.serialization import read_yaml

SIZES = (16, 32, 64, 128)
"""Results to learn from, where the number matters."""
DIVISIONS = 25
"""Random choices of them."""
RESAMPLES = 2000
MODELS: dict[str, Callable[[], RegressorMixin]] = {
    "linear": lambda: make_pipeline(StandardScaler(), BayesianRidge()),
    "gaussian_process": lambda: make_pipeline(
        StandardScaler(),
        GaussianProcessRegressor(
            ConstantKernel() * RBF(5.0, length_scale_bounds=(0.5, 200)) + WhiteKernel(0.5), normalize_y=True
        ),
    ),
    "boosted_trees": lambda: GradientBoostingRegressor(
        n_estimators=200, max_depth=2, learning_rate=0.03, subsample=0.5, max_features=0.5, random_state=0
    ),
    "forest": lambda: RandomForestRegressor(100, min_samples_leaf=3, max_features=0.5, random_state=0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="folder of the Parquet files of benchmarks/searchers/window_table.py")
    parser.add_argument("--out", required=True, type=Path, help="folder of correlations.csv")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # a kernel's number at the end of its range
    settings = read_yaml(options.table / "config.yaml")
    space = read_space(settings["search_space"])
    path = options.table / "window_table.parquet"
    table = read_table(path, space, settings["trial"]["epochs"])
    knobs = pd.read_parquet(path).drop_duplicates("fingerprint").set_index("fingerprint").loc[list(table)]
    values = [
        {name.removeprefix("knob."): value for name, value in row.items() if name.startswith("knob.")}
        for row in knobs.to_dict("records")
    ]
    architectures = [trained.architecture for trained in table.values()]
    macs = np.array([measure(a, resolution=settings["data"]["resolution"]).macs for a in architectures])
    errors = np.array([trained.errors for trained in table.values()])
    inputs = {"features": vectors(architectures), "knobs": Encoding(space.knobs).rows(values)}
    rows = pd.DataFrame(list(correlations(inputs, np.log2(macs), errors)))
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.out / "correlations.csv", index=False, float_format="%.4g")
    print(rows.to_string(index=False, float_format="{:.3f}".format))
    several = errors[np.isfinite(errors).all(axis=1)]
    print(agreement(several[:, 0], several).ceiling)


def correlations(inputs: dict[str, Array], macs: Array, errors: Array) -> Iterator[dict[str, Any]]:
    """A row for the multiply-adds alone, for the first seed's own errors, and for each input and model.

    Args:
        inputs: by name, (n, F) numbers of each architecture.
        macs: of each architecture.
        errors: (n, seeds), NaN where there is none; the first seed is complete.
    """
    first, others = errors[:, 0], mean_over_seeds(errors[:, 1:])
    yield {"input": "macs", "model": "none", **_agreement(-macs, first, others)}
    yield {"input": "error", "model": "none", **_agreement(first, first, others)}
    for name, rows in inputs.items():
        for model, make in MODELS.items():
            expected = out_of_fold(make, rows, first)
            learned = {f"after_{n}": learning(make, rows, first, others, n) for n in SIZES if n < len(first)}
            yield {"input": name, "model": model, **_agreement(expected, first, others), **learned}


def out_of_fold(make: Callable[[], Any], rows: Array, errors: Array) -> Array:
    """What is expected of each after the other folds, above their mean; mean over several ways to divide."""
    total = np.zeros(len(rows))
    for known, own in RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0).split(rows):
        total[own] += make().fit(rows[known], _normal(errors[known])).predict(rows[own])
    return total.round(9)


def learning(make: Callable[[], Any], rows: Array, errors: Array, judged: Array, number: int) -> float:
    """Mean rho with the errors of other seeds, of the architectures that are not among so many random ones."""
    found = []
    for seed in range(DIVISIONS):
        order = np.random.default_rng(seed).permutation(len(rows))
        known, left = order[:number], order[number:]
        left = left[np.isfinite(judged[left])]
        expected = make().fit(rows[known], _normal(errors[known])).predict(rows[left]).round(9)
        rho = float(spearman(expected, judged[left], np.ones((1, len(left))))[0])
        found.append(0.0 if np.isnan(rho) else rho)
    return float(np.mean(found))


def _agreement(expected: Array, first: Array, others: Array) -> dict[str, Any]:
    several = np.isfinite(others)
    row: dict[str, Any] = {}
    for name, scores, errors in (("same_seed", expected, first), ("others", expected[several], others[several])):
        value = correlation(
            *bootstrapped(spearman, scores, errors, counts_of(draws(len(errors), RESAMPLES, 0))), len(errors)
        )
        row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    return row


def _normal(errors: Array) -> Array:
    quantiles: Array = norm.ppf((rankdata(errors) - 0.5) / len(errors))
    return quantiles


if __name__ == "__main__":
    main()
