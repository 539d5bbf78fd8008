"""What the table of aggregation windows says: spread and noise, optimum, early epochs, windows at equal cost.

    python experiments/window_table/summary.py [experiments/window_table/window_table.parquet]

Prints the numbers of README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

TABLE = Path(__file__).with_name("window_table.parquet")
STAGES = ("stage1", "stage2", "stage3")


def main(path: Path) -> None:
    frame = pd.read_parquet(path)
    errors = sorted(name for name in frame.columns if name.startswith("validation_error_"))
    last = errors[-1]
    architectures, gaps = frame["fingerprint"].nunique(), int(frame.isna().sum().sum())
    print(f"{len(frame)} trainings of {architectures} architectures, {gaps} gaps")
    hours = frame[[f"seconds_{len(errors)}", "wall_seconds"]].sum() / 3600
    print(f"{hours.iloc[0]:.2f} h of processor time, {hours.iloc[1]:.2f} h on the wall")
    show_spread(frame, errors)
    show_optimum(frame, last)
    first = frame[frame["seed"] == 0]
    for early in errors[:-1]:
        print(f"Spearman {early} with {last}, seed 0: {first[early].corr(first[last], method='spearman'):.3f}")
    repeated = frame[frame["fingerprint"].isin(frame.loc[frame["seed"] > 0, "fingerprint"])]
    by_seed = repeated.pivot(index="fingerprint", columns="seed", values=last)
    print(f"Spearman of {last} between seeds:\n{by_seed.corr(method='spearman').round(3).to_string()}")
    for cost in ("params", "macs", "serial_depth", f"seconds_{len(errors)}"):
        print(f"Spearman {cost} with {last}, seed 0: {first[cost].corr(first[last], method='spearman'):.3f}")
    show_windows(first, last)


def show_spread(frame: pd.DataFrame, errors: list[str]) -> None:
    """Standard deviations over architectures, and over the seeds of one."""
    seeds = frame.groupby("fingerprint")[errors].agg(["mean", "var", "size"])
    for name in errors:
        first = frame.loc[frame["seed"] == 0, name]
        repeated = seeds[name][seeds[name]["size"] > 1]
        noise = repeated["var"].mean()
        true = max(repeated["mean"].var() - (repeated["var"] / repeated["size"]).mean(), 0.0)
        print(
            f"{name}: seed 0 from {first.min():.3f} to {first.max():.3f}, median {first.median():.3f}, deviation over "
            f"architectures {first.std():.4f}; seed noise {noise**0.5:.4f} of {len(repeated)} architectures, "
            f"whose deviation without it is {true**0.5:.4f}"
        )


def show_optimum(frame: pd.DataFrame, last: str) -> None:
    """The best by the mean of the seeds, among those with several and among all."""
    knobs = [name for name in frame.columns if name.startswith("knob.")]
    means = frame.groupby("fingerprint").agg(
        error=(last, "mean"), seeds=(last, "size"), **{name: (name, "first") for name in [*knobs, "params", "macs"]}
    )
    for what, of in (("several seeds", means[means["seeds"] > 1]), ("any number of seeds", means)):
        print(f"best mean with {what}:\n{of.nsmallest(5, 'error').round(4).to_string(index=False)}")


def show_windows(first: pd.DataFrame, last: str) -> None:
    """Mean error by window, and its slope where the multiply-adds and groups are held."""
    for stage in STAGES:
        table = first.pivot_table(index=f"knob.{stage}.groups", columns=f"knob.{stage}.window", values=[last, "macs"])
        print(f"{stage}: mean error and multiply-adds by groups and window\n{table.round(4).to_string()}")
    predictors = {"log2 macs": np.log2(first["macs"])}
    predictors |= {f"{stage} 8 groups": (first[f"knob.{stage}.groups"] == 8).astype(float) for stage in STAGES}
    predictors |= {f"{stage} window": first[f"knob.{stage}.window"] for stage in STAGES}
    show_regression(predictors, first[last])


def show_regression(predictors: dict[str, pd.Series], error: pd.Series) -> None:
    """Least squares, with standard errors."""
    design = np.column_stack([np.ones(len(error)), *predictors.values()])
    coefficients, *_ = np.linalg.lstsq(design, error.to_numpy(), rcond=None)
    residual = error - design @ coefficients
    variance = (residual**2).sum() / (len(error) - design.shape[1])
    deviations = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    print(f"least squares, R2 {1 - residual.var() / error.var():.3f}")
    for name, slope, deviation in zip(["constant", *predictors], coefficients, deviations, strict=True):
        print(f"  {name:<16} {slope:+.4f} +- {deviation:.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TABLE)
