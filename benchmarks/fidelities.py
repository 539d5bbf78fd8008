"""What cheaper fidelities of a proxy trial cost, and how they rank architectures against the full one.

    python benchmarks/fidelities.py --root FOLDER --out experiments/fidelities

Trains some architectures of `search_space=windowed_small` on CIFAR-10, at the full fidelity with several seeds, at each
cheaper one with seed 0. Writes trainings.csv (a row a training; what stands there is not trained again) and
fidelities.csv (a row a fidelity), and prints the latter. One thread computes; seconds are its processor time.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

import command_line
from promotion.agreement import agreement
from search_spaces.space import SearchSpace, sample
from seqconv import Architecture, validation
from training.data import ImageData, split
from training.datasets import Cifar10
from training.fidelity import costs, fidelities
from training.loop import train
from training.trial import TrialConfig

FULL = "full"
KEYS = ["fidelity", "seed", "fingerprint"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = _parsed(arguments)
    try:
        networks = architectures(_space(), validation.integer("networks", given.networks))
        data = Cifar10(root=given.root, verify=False, download=False).load()
        trials = ladder(full_trial(given, data), side=data.resolution)
    except ValueError as error:
        sys.exit(f"error: {error}")
    given.out.mkdir(parents=True, exist_ok=True)
    plan = [(name, seed) for seed in range(given.seeds) for name in trials if seed == 0 or name == FULL]
    rows = _rows(given.out / "trainings.csv")
    done = {tuple(row[key] for key in KEYS) for row in rows}
    for network in networks:
        for name, seed in plan:
            if (name, seed, network.fingerprint()) not in done:
                row = {"fidelity": name, "seed": seed, **trained(network, trials[name], data, seed)}
                rows.append(row)
                pd.DataFrame(rows).to_csv(given.out / "trainings.csv", index=False)
                print(f"{name} seed {seed}: error {row['error']:.3f} in {row['seconds']:.1f} s", flush=True)
    report = summary(pd.DataFrame(rows), trials, {name: work(trial, data) for name, trial in trials.items()})
    report.to_csv(given.out / "fidelities.csv", index=False, float_format="%.4g")
    print(report.to_string(index=False, float_format="{:.3f}".format))


def ladder(full: TrialConfig, *, side: int) -> dict[str, TrialConfig]:
    """The full fidelity and cheaper ones, by name; the one that grows ends at the full one."""
    share, epochs = full.share, full.epochs
    assert isinstance(share, float) and epochs is not None
    return {
        FULL: full,
        "share 1/4": replace(full, share=share / 4),
        "one epoch": replace(full, epochs=1),
        "resolution 1/2": replace(full, resolution=side // 2),
        "width 1/2": replace(full, width=0.5),
        "growing": replace(full, share={1: share / 4, epochs: share}, resolution={1: side // 2, epochs: side}),
    }


def trained(network: Architecture, trial: TrialConfig, data: ImageData, seed: int) -> dict[str, Any]:
    """Error after the last epoch, and processor time."""
    assert trial.share is not None
    parts = split(data, share=trial.share, validation_limit=trial.validation_limit)
    began = time.process_time()
    *_, last = train(network, parts, trial, classes=data.classes, folder=None, seed=seed, device="cpu")
    spent = round(time.process_time() - began, 2)
    return {"fingerprint": network.fingerprint(), "error": last.validation_error, "seconds": spent}


def work(trial: TrialConfig, data: ImageData) -> float:
    """What the images of a trial cost by their number and pixels, width left aside."""
    assert trial.share is not None and trial.epochs is not None
    parts = split(data, share=trial.share, validation_limit=trial.validation_limit)
    return sum(costs(fidelities(trial, parts, epochs=trial.epochs), len(parts.validation_labels)))


def summary(rows: pd.DataFrame, trials: Mapping[str, TrialConfig], works: Mapping[str, float]) -> pd.DataFrame:
    """For each fidelity its cost against the full one, and how it ranks the architectures as the full one's mean does.

    The row of the full fidelity has the agreement between single seeds of it; a cheaper one with no error of its own
    could reach `rho_reachable`.
    """
    errors = rows.pivot(index="fingerprint", columns=["fidelity", "seed"], values="error")
    seconds = rows.groupby("fidelity")["seconds"].mean()
    found = []
    for name in trials:
        agreed = agreement(errors[name][0].to_numpy(), errors[FULL].to_numpy())
        rho = agreed.ceiling.rho if name == FULL else agreed.rho
        found.append(
            {
                "fidelity": name,
                "networks": len(errors),
                "seconds": seconds[name],
                "cost": seconds[name] / seconds[FULL],
                "cost_by_pixels": works[name] / works[FULL],
                "error": errors[name][0].mean(),
                "spread": errors[name][0].std(),
                "spearman": rho.value,
                "low": rho.low,
                "high": rho.high,
                "rho_reachable": agreed.ceiling.rho_reachable,
            }
        )
    return pd.DataFrame(found)


def architectures(space: SearchSpace, number: int) -> list[Architecture]:
    """Different random architectures of a space, the same ones for every call."""
    generator = random.Random(0)
    found: dict[str, Architecture] = {}
    for _ in range(1000 * number):
        architecture = space.decode(sample(space, generator))
        found.setdefault(architecture.fingerprint(), architecture)
        if len(found) == number:
            return list(found.values())
    raise ValueError(f"networks must be at most {len(found)}, as many as were found in {space.name}, got {number}")


def full_trial(given: argparse.Namespace, data: ImageData) -> TrialConfig:
    """The full fidelity that was asked for."""
    available = round(0.9 * len(data.train_labels))
    return TrialConfig(epochs=given.epochs, share=given.images / available, validation_limit=given.validation).resolved(
        data.proxy, flip=data.flip
    )


def _space() -> SearchSpace:
    made: SearchSpace = command_line.instantiate(
        OmegaConf.load(command_line.CONF / "search_space" / "windowed_small.yaml")
    )
    return made


def _rows(path: Path) -> list[dict[Any, Any]]:
    return pd.read_csv(path).to_dict("records") if path.is_file() else []


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="folder that has CIFAR-10")
    parser.add_argument("--out", required=True, type=Path, help="folder of trainings.csv and fidelities.csv")
    parser.add_argument("--networks", type=int, default=12, help="to train (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="to train on in full (default: %(default)s)")
    parser.add_argument("--validation", type=int, default=500, help="images to validate on (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="of a full training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="of the full fidelity (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
