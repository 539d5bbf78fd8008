"""Compare the runs of run.sh: best error against wall time, and the best found against the first eight random trials.

    python experiments/windowed_cifar10/compare.py runs/windowed_cifar10 experiments/windowed_cifar10

Reads the trials.csv of each run; writes runs.csv (one row a trial), summary.csv (TPE
against random), main.png and best_over_time.png.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLORS = {"tpe": "tab:blue", "random": "tab:orange"}


def main(runs: Path, out: Path) -> None:
    frames = {path.parent.name: read(path) for path in sorted(runs.glob("*/trials.csv"))}
    pd.concat([frame.assign(run=name) for name, frame in frames.items()]).to_csv(out / "runs.csv", index=False)
    first, search = frames.pop("first-8"), frames.pop("main")
    epochs = int(first["epochs"].max())
    horizon = min(frame["minutes"].max() for frame in frames.values())
    rows = []
    for name, frame in frames.items():
        searcher, seed = name.rsplit("-", 1)
        full = frame[frame["epochs"] == epochs]
        counts = frame["outcome"].value_counts()
        rows.append(
            {
                "searcher": searcher,
                "seed": int(seed),
                "trials": int(frame["outcome"].isin(["completed", "pruned", "failed"]).sum()),
                "pruned": int(counts.get("pruned", 0)),
                "duplicates": int(counts.get("duplicate", 0)),
                "minutes": round(frame["minutes"].max(), 2),
                "best": full["error"].min(),
                f"best_at_{horizon:.1f}_min": full[full["minutes"] <= horizon]["error"].min(),
                "epoch_1_median": frame["error_1"].median(),
            }
        )
    summary = pd.DataFrame(rows).sort_values(["searcher", "seed"])
    summary.to_csv(out / "summary.csv", index=False)
    print(summary.to_string(index=False))
    print(summary.groupby("searcher").mean(numeric_only=True).drop(columns="seed").round(4).to_string())
    best, median = search.query("epochs == @epochs")["error"].min(), first["error"].median()
    assert list(first["fingerprint"]) == list(search["fingerprint"][: len(first)])
    print(f"\nfirst 8 trials of main, each trained to the end: median {median:.4f}, best {first['error'].min():.4f}")
    print(f"best of main: {best:.4f}, {100 * (median - best):.1f} points below that median")
    plot_search(search, epochs, median, out / "main.png")
    plot(frames, epochs, horizon, out / "best_over_time.png")


def read(path: Path) -> pd.DataFrame:
    """The trials of a run, with minutes from its first start to each trial's end and the error after epoch 1."""
    frame = pd.read_csv(path)
    start = pd.to_datetime(frame["started"]).min()
    frame["minutes"] = (pd.to_datetime(frame["finished"]) - start).dt.total_seconds() / 60
    frame["error_1"] = frame["errors"].map(lambda text: json.loads(text).get("1"))
    return frame


def plot_search(search: pd.DataFrame, epochs: int, median: float, path: Path) -> None:
    """Every trial of one search, where ASHA stopped it, and the best one so far."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    stopped, full = search[search["epochs"] < epochs], search[search["epochs"] == epochs]
    axes.scatter(stopped["trial"], stopped["error"], color="lightgray", label="stopped by ASHA")
    axes.scatter(full["trial"], full["error"], color="tab:blue", label=f"trained for {epochs} epochs")
    axes.step([*full["trial"], search["trial"].max()], [*full["error"].cummin(), full["error"].min()], where="post")
    axes.axhline(median, color="black", linestyle=":", label=f"first 8 trials after {epochs} epochs, median")
    axes.set(xlabel="trial", ylabel="validation error after its last epoch")
    axes.set_title("Guided search and ASHA over windows on a CIFAR-10 proxy, seed 0", fontsize=11)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def plot(frames: dict[str, pd.DataFrame], epochs: int, horizon: float, path: Path) -> None:
    """Best fully trained error so far against time, one line a run."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, frame in frames.items():
        searcher, seed = name.rsplit("-", 1)
        full = frame[(frame["epochs"] == epochs) & (frame["outcome"] == "completed")].sort_values("minutes")
        times = [*full["minutes"], frame["minutes"].max()]
        best = [*full["error"].cummin(), full["error"].min()]
        label = searcher if seed == "0" else None
        axes.step(times, best, where="post", color=COLORS[searcher], label=label, alpha=0.9)
    axes.axvline(horizon, color="black", linewidth=0.8, linestyle="--", label="equal time")
    axes.set(xlabel="minutes of search", ylabel=f"best validation error after {epochs} epochs")
    axes.set_title("TPE and random search on a CIFAR-10 proxy, three seeds each", fontsize=11)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
