"""How well zero-cost proxies rank the architectures of a table of real trainings, and what a score costs.

    python benchmarks/zero_cost.py experiments/window_table --root FOLDER --out experiments/zero_cost

Writes scores.csv (one row for each architecture, proxy and seed; what stands there is not computed again) and
correlations.csv, and prints the latter.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

import command_line
from promotion.agreement import RESAMPLES, agreement
from promotion.rank_correlation import Correlation, bootstrapped, correlation, counts_of, draws, spearman
from promotion.seed_noise import mean_over_seeds
from search_spaces.space import SearchSpace
from seqconv import Architecture, validation
from seqconv.serialization import read_yaml
from training.data import split
from training.datasets import Cifar10
from training.zero_cost.names import PROXIES
from training.zero_cost.scoring import Batch, score, training_batch

Floats = NDArray[np.float64]
BASELINES = ("params", "macs")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """An architecture of the table."""

    architecture: Architecture
    errors: tuple[float, ...]
    """Validation error after the last epoch, by seed; NaN where it was not trained with it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="folder of the Parquet files of benchmarks/searchers/window_table.py")
    parser.add_argument("--root", required=True, help="folder that has CIFAR-10")
    parser.add_argument("--out", required=True, type=Path, help="folder of scores.csv and correlations.csv")
    parser.add_argument("--proxies", nargs="+", default=PROXIES, choices=PROXIES)
    parser.add_argument("--batch", type=int, default=32, help="images that a proxy looks at")
    parser.add_argument("--seeds", type=int, default=3, help="scores of an architecture, each with its own weights")
    parser.add_argument("--ratio", type=int, default=8, help="proposals among which a pre-filter chooses")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = read_yaml(options.table / "config.yaml")
    space, epochs = read_space(settings["search_space"]), settings["trial"]["epochs"]
    table = read_table(options.table / "window_table.parquet", space, epochs)
    batch = read_batch(options.root, settings, options.batch)
    scores = scored(table, batch, options.proxies, options.seeds, options.out / "scores.csv")
    errors = np.array([trained.errors for trained in table.values()])
    report = pd.concat(reports(scores, errors, ratio=options.ratio), ignore_index=True)
    report.to_csv(options.out / "correlations.csv", index=False, float_format="%.4g")
    print(report.to_string(index=False, float_format="{:.3f}".format))


def reports(scores: pd.DataFrame, errors: Floats, *, ratio: int) -> Iterator[pd.DataFrame]:
    """`correlations` of all architectures, then of those that were trained with every seed, whose errors say more.

    Prints what could be reached: the gain of a pre-filter that knows the errors, and how far the seeds agree.
    """
    trained = np.isfinite(errors).sum(axis=1)
    for least in sorted({1, trained.max()}):
        enough = trained >= least
        chosen = errors[enough]
        yield correlations(scores[np.tile(enough, len(scores) // len(enough))], chosen, ratio=ratio).assign(seeds=least)
        means = mean_over_seeds(chosen)
        best = improvement(-means, means, np.ones((1, len(means))), ratio).value
        print(f"{least} seeds or more: mean error {means.mean():.4f}, best of {ratio} by errors {best:.4f} below it")
    print(agreement(chosen[:, 0], chosen).ceiling)


def read_space(identity: Mapping[str, Any]) -> SearchSpace:
    """The space of a table, from conf/.

    Raises:
        ValueError: the file of that name holds another space than the one that was trained.
    """
    file = command_line.CONF / "search_space" / f"{identity['name']}.yaml"
    space: SearchSpace = command_line.instantiate(OmegaConf.load(file))
    if space.to_dict() != identity:
        raise ValueError(f"{file} is another space than the one of the table")
    return space


def read_table(path: Path, space: SearchSpace, epochs: int) -> dict[str, Trained]:
    """The architectures of a table of benchmarks/searchers/window_table.py by fingerprint, in alphabetical order.

    Raises:
        ValueError: a row whose knob values are another architecture in `space`.
    """
    frame = pd.read_parquet(path)
    errors = frame.pivot(index="fingerprint", columns="seed", values=f"validation_error_{epochs}")
    table: dict[str, Trained] = {}
    for row in frame.drop_duplicates("fingerprint").sort_values("fingerprint").to_dict("records"):
        values = {name.removeprefix("knob."): value for name, value in row.items() if name.startswith("knob.")}
        architecture, fingerprint = space.decode(values), row["fingerprint"]
        if architecture.fingerprint() != fingerprint:
            raise ValueError(f"{path}: {fingerprint} is no architecture of the space with {values}")
        table[fingerprint] = Trained(architecture=architecture, errors=tuple(errors.loc[fingerprint]))
    return table


def read_batch(root: str, settings: Mapping[str, Any], images: int) -> Batch:
    """Images that the table's architectures were trained on, averaged down to its resolution."""
    data = Cifar10(root=root, verify=False, download=False).load()
    side = settings["data"]["resolution"]
    train, test = (shrunk(part, side) for part in (data.train_images, data.test_images))
    trial = settings["trial"]
    small = replace(data, train_images=train, test_images=test)
    return training_batch(split(small, share=trial["share"]), images, seed=0)


def shrunk(images_NCHW: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Every pixel the mean of a square of them, rounded."""
    count, channels, height, _ = images_NCHW.shape
    factor = height // side
    squares = images_NCHW.reshape(count, channels, side, factor, side, factor)
    return np.floor(squares.mean((3, 5)) + 0.5).astype(np.uint8)


def scored(table: Mapping[str, Trained], batch: Batch, proxies: Sequence[str], seeds: int, path: Path) -> pd.DataFrame:
    """Score and seconds by proxy, seed and fingerprint; those that `path` lacks are computed and added."""
    keys = ["proxy", "seed", "fingerprint"]
    if not path.exists():
        path.write_text(",".join([*keys, "score", "seconds"]) + "\n", encoding="utf-8")
    known = pd.read_csv(path).set_index(keys)
    with path.open("a", encoding="utf-8") as file:
        for seed in range(seeds):
            for fingerprint, trained in table.items():
                for proxy in (name for name in proxies if (name, seed, fingerprint) not in known.index):
                    began = time.process_time()
                    value = score(proxy, trained.architecture, batch, classes=10, seed=seed)
                    spent = time.process_time() - began
                    file.write(f"{proxy},{seed},{fingerprint},{value!r},{spent:.4f}\n")
                    file.flush()
    scores = pd.read_csv(path).set_index(keys).sort_index()
    asked = {"proxy": proxies, "seed": range(seeds), "fingerprint": table}
    return scores[np.all([scores.index.isin(list(values), level=key) for key, values in asked.items()], axis=0)]


def correlations(scores: pd.DataFrame, errors: Floats, *, ratio: int) -> pd.DataFrame:
    """A row for each proxy, the best first: how its scores with the first seed rank, and what a score costs.

    Args:
        scores: `score` and `seconds` by proxy, seed and fingerprint, every architecture in the order of `errors`.
        errors: (architectures, training seeds), NaN where there is none.
        ratio: proposals among which a pre-filter chooses.
    """
    means = mean_over_seeds(errors)
    counts = counts_of(draws(len(means), RESAMPLES, seed=0))
    ranks = {
        str(proxy): np.array([of_seed["score"].rank() for _, of_seed in of_proxy.groupby("seed")])
        for proxy, of_proxy in scores.groupby("proxy")
    }
    rho = {proxy: bootstrapped(spearman, by_seed[0], -means, counts) for proxy, by_seed in ranks.items()}
    baseline = max((name for name in BASELINES if name in rho), key=lambda name: rho[name][0])
    rows: list[dict[str, Any]] = []
    for proxy, by_seed in ranks.items():
        one, average = (agreement(-r, errors) for r in (by_seed[0], by_seed.mean(axis=0)))
        more = correlation(rho[proxy][0] - rho[baseline][0], rho[proxy][1] - rho[baseline][1], len(means))
        rows.append(
            {
                "proxy": proxy,
                "n": one.n,
                **_columns("spearman", one.rho),
                **_columns("kendall", one.tau),
                f"spearman_over_{baseline}": more.value,
                "over_low": more.low,
                "over_high": more.high,
                f"spearman_of_{len(by_seed)}_seeds": average.rho.value,
                **_columns(f"best_of_{ratio}", improvement(by_seed[0], means, counts, ratio)),
                "seconds": scores.loc[proxy, "seconds"].median(),
            }
        )
    return pd.DataFrame(rows).sort_values("spearman", ascending=False, na_position="last")


def improvement(scores: Floats, errors: Floats, counts: Floats, ratio: int) -> Correlation:
    """By how much the error of the best-scored of `ratio` random architectures is expected to be below the mean error.

    Args:
        scores: of every architecture, higher is better; which of equal ones is chosen is left to chance.
        errors: of every architecture.
        counts: bootstrap resamples, for the interval.
        ratio: drawn without replacement.

    Raises:
        ValueError: a ratio above the number of architectures.
    """
    n = validation.integer("number of architectures", len(scores), low=ratio)
    # Of the n choose ratio draws, those whose best is the i-th from below take the others from the i below it.
    shares = np.array([math.comb(i, ratio - 1) / math.comb(n, ratio) for i in range(n)])

    def gained(drawn: NDArray[np.int64]) -> float:
        order = drawn[np.argsort(scores[drawn], kind="stable")]
        _, group, sizes = np.unique(scores[order], return_inverse=True, return_counts=True)
        fair = (np.bincount(group, weights=shares) / sizes)[group]
        return float(errors[drawn].mean() - fair @ errors[order])

    items = np.arange(n)
    resampled = np.array([gained(np.repeat(items, count.astype(int))) for count in counts])
    return correlation(gained(items), resampled, n)


def _columns(name: str, value: Correlation) -> dict[str, float | None]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


if __name__ == "__main__":
    main()
