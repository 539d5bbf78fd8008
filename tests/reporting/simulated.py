"""Runs of searches that were never trained: what a search leaves behind, with errors from a formula."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from search_spaces.space import sample
from search_spaces.staged import StagedSpace
from searchers import results
from searchers.record import COMPLETED, FAILED, PRUNED, TrialRecord
from searchers.run_folder import RunFolder
from searchers.study import TrialStore
from seqconv import Architecture, Complexity

ROOT = Path(__file__).parents[2]
DATASET = {
    "name": "cifar10", "resolution": 32, "classes": 10, "images": 50_000,
    "class_names": [str(i) for i in range(10)], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
}  # fmt: skip
EPOCHS = 9
RUNGS = (1, 3)
REASON = (
    "Traceback (most recent call last):\n  File x\ntraining.trainer.Diverged: training loss is nan at step 50 of 90"
)


def windowed() -> StagedSpace:
    """The space of `search_space=windowed`."""
    text = (ROOT / "conf" / "search_space" / "windowed.yaml").read_text(encoding="utf-8")
    return StagedSpace(**{key: value for key, value in yaml.safe_load(text).items() if key != "_target_"})


def cost(architecture: Architecture) -> Complexity:
    """Made up, in the order of magnitude of the real one, and quicker."""
    blocks = sum(stage.blocks for stage in architecture.stages)
    window = sum(
        _ratio(stage.window, groups) for stage, groups in zip(architecture.stages, architecture.groups, strict=True)
    )
    return Complexity(
        params=int(41_000 * blocks * (1 + window)),
        macs=int(9_123_456 * blocks * (1 + window)),
        paper_flops=int(9_200_000 * blocks * (1 + window)),
        serial_depth=sum(
            2 * stage.blocks * groups for stage, groups in zip(architecture.stages, architecture.groups, strict=True)
        ),
        unread_groups=0,
        activation_bytes=1_000_000 * blocks,
    )


def simulate(
    path: Path, *, trials: int, seed: int = 0, epochs: int = EPOCHS, failures: float = 0.02, shares: bool = True
) -> Path:
    """A search of `windowed` by random proposals with successive halving, as its folder.

    Args:
        path: the run folder.
        trials: proposals, duplicates and refused ones among them.
        seed: of everything.
        epochs: of a trial that nothing stops.
        failures: share of the trials that diverge.
        shares: whether each epoch says what its seconds went to.
    """
    rng, space = random.Random(seed), windowed()
    folder = RunFolder(path)
    identity = {"search_space": space.to_dict(), "dataset": DATASET, "trial": {"epochs": epochs}, "seed": seed}
    folder.open(identity, {"config": _config(trials, seed), "environment": {"cluster": "2 CPUs, 0 GPUs", "gpus": []}})
    store = TrialStore(path, space)
    seen: dict[str, TrialRecord] = {}
    rungs: dict[int, list[float]] = {}
    for _ in range(trials):
        values = sample(space, rng)
        architecture = space.decode(values)
        name = architecture.fingerprint()
        facts = {"fingerprint": name, "architecture": architecture.to_dict(), **asdict(cost(architecture))}
        if name in seen:
            store.duplicate(values, facts, seen[name])
            continue
        record = store.begin(values, facts)
        folder.begin_trial(record.number, architecture)
        _train(store, folder, record.number, architecture, rng, rungs, epochs, failures, shares)
        if store.record(record.number).outcome != FAILED:
            seen[name] = store.record(record.number)
    results.write_tables(folder, store.records())
    folder.close()
    return path


def leave_open(path: Path) -> None:
    """One more trial, which a search that runs or was killed has begun."""
    space = windowed()
    store, values = TrialStore(path, space), sample(space, random.Random(123))
    architecture = space.decode(values)
    facts = {
        "fingerprint": architecture.fingerprint(),
        "architecture": architecture.to_dict(),
        **asdict(cost(architecture)),
    }
    store.report(store.begin(values, facts).number, 1, 0.75)


def error_of(architecture: Architecture, epoch: int, rng: random.Random) -> float:
    """Wide windows and many blocks are good, early errors are noisy."""
    quality = 0.0
    for stage, groups in zip(architecture.stages, architecture.groups, strict=True):
        quality += 0.06 * min(1.0, _ratio(stage.window, groups)) + 0.02 * stage.blocks
        quality += 0.015 * math.log2(groups) - 0.03 * (stage.form == "plain")
    floor = 0.55 - quality
    return min(0.9, max(0.01, floor + 0.35 / epoch + rng.gauss(0, 0.03 / math.sqrt(epoch))))


def _train(
    store: TrialStore, folder: RunFolder, number: int, architecture: Architecture, rng: random.Random,
    rungs: dict[int, list[float]], epochs: int, failures: float, shares: bool,
) -> None:  # fmt: skip
    rows: list[dict[str, Any]] = []
    outcome = FAILED if rng.random() < failures else COMPLETED
    for epoch in range(1, 2 if outcome == FAILED else epochs + 1):
        error = error_of(architecture, epoch, rng)
        store.report(number, epoch, error)
        rows.append(_metrics(epoch, error, rng, shares))
        if epoch in RUNGS and outcome == COMPLETED:
            before = rungs.setdefault(epoch, [])
            before.append(error)
            if error > sorted(before)[(len(before) - 1) // 3]:
                outcome = PRUNED
                break
    write_metrics(folder.trial(number) / "metrics.csv", rows)
    seconds = {"seconds": round(sum(row["seconds"] for row in rows) + 0.4, 3)}
    store.finish(number, outcome, seconds | ({"reason": REASON} if outcome == FAILED else {}))


def _metrics(epoch: int, error: float, rng: random.Random, shares: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "epoch": epoch,
        "train_loss": 2 * error,
        "train_error": error,
        "validation_loss": 2.1 * error,
    }
    train, evaluate = 8 + rng.random(), 1 + rng.random()
    row |= {
        "validation_error": error,
        "learning_rate": 0.1,
        "seconds": train + evaluate + 0.6,
        "images_per_second": 900.5,
    }
    if shares:
        build = 0.5 if epoch == 1 else 0.0
        row |= {
            "build_seconds": build,
            "data_seconds": 0.6 - build,
            "train_seconds": train,
            "evaluate_seconds": evaluate,
        }
    return row


def write_metrics(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _config(trials: int, seed: int) -> dict[str, Any]:
    return {
        "search_space": {"name": "windowed"},
        "searcher": {"_target_": "searchers.algorithms.random.RandomSearch"},
        "scheduler": {"_target_": "searchers.schedulers.Asha", "grace_epochs": 1, "reduction_factor": 3},
        "trials": trials,
        "seed": seed,
    }


def _ratio(window: Any, groups: int) -> float:
    if window.ratio is not None:
        return float(window.ratio)
    return 2.0 if window.groups is None else window.groups / groups


def keep_weights(path: Path, number: int) -> None:
    """The weights of a network that was never trained, as those of a trial."""
    import torch

    from seqconv import build, read_architecture

    folder = RunFolder(path).trial(number)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = build(read_architecture(folder / "architecture.yaml"), classes=10).state_dict()
    torch.save(state, folder / "model.pt")
