"""A search from its configuration to its results, top to bottom."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from search_spaces.space import size
from search_spaces.summary import check_budget, check_space, summarize
from searchers import environment, results, run_folder
from searchers.config import SearchConfig, TrainTrial
from searchers.interrupt import INTERRUPTED, terminate_like_interrupt
from searchers.record import RUNNING, TRAINED, TrialRecord
from searchers.run_folder import RunFolder
from searchers.session import Session
from searchers.study import TrialStore
from seqconv import Architecture, Complexity, measure
from training.data import ImageData, Split, split
from training.log_file import logged
from training.loop import EpochMetrics, train
from training.trial import TrialConfig

TABLE_WIDTH = 160
Remarks = Callable[[list[TrialRecord]], list[str]]
"""Lines for the user about the trials of a search."""


def run_search(config: SearchConfig, *, train_trial: TrainTrial | None = None, remarks: Remarks | None = None) -> int:
    """Run, or go on with, a search; returns the exit code: 0 done, 1 stopped by failures, 130 interrupted.

    Args:
        config: what to search.
        train_trial: trains one trial in a worker; the default is proxy training on the configured data.
        remarks: gives lines to print of a search that is done.

    Raises:
        ValueError, OSError: input that cannot be used; nothing has been written by then.
    """
    console = Console(highlight=False, soft_wrap=True)
    say = functools.partial(console.print, markup=False)
    check_space(config.search_space)
    data = config.dataset.load()
    trial = config.trial.resolved(data.proxy, flip=data.flip)
    assert trial.epochs is not None and trial.share is not None
    say(f"data: {data.source}")
    measured = {"resolution": data.resolution, "classes": data.classes}
    for line in summarize(config.search_space, **measured).lines():
        say(line)
    check_budget(config.search_space, config.budget, **measured)
    parts = split(data, validation=data.proxy.validation, share=trial.share, validation_limit=trial.validation_limit)
    identity = _identity(config, data, parts, trial)
    path, exists = run_folder.choose(config.run, config.resume, identity)
    run_folder.check_identity(path, identity)
    from searchers import ray_backend, ray_cluster

    share = ray_cluster.connect(config.backend, config.resources, config.concurrency)
    folder = RunFolder(path)
    folder.open(identity, {"config": config.plain, "environment": environment.describe(share.cluster, data.source)})
    say(f"run: {path} ({'going on' if exists else 'new'}), {share.concurrency} trials at a time on {share.cluster}")
    images = f"{len(parts.train_labels):,} images, validated on {len(parts.validation_labels):,}"
    say(f"trial: {trial.epochs} epochs of {images}")
    cost = functools.partial(measure, resolution=data.resolution, classes=data.classes)
    about = {"dataset": data.name}
    session = _session(config, folder, trials=_trials(config), epochs=trial.epochs, cost=cost, about=about, say=say)
    work = {"split": parts, "config": trial, "classes": data.classes, "folder": path.resolve(), "seed": config.seed}
    with terminate_like_interrupt():
        ray_backend.run(
            session,
            share=share,
            scheduler=config.scheduler,
            retries=config.backend.retries,
            train=train_trial or train_proxy,
            shared=work,
        )
    return _conclude(config, folder, session, console, remarks)


def train_proxy(
    number: int, architecture: Architecture, *, folder: Path, device: str, **settings: Any
) -> Generator[EpochMetrics, None, None]:
    """Train one trial in its own folder, with its log beside its results. Runs in a worker."""
    target = run_folder.trial_folder(folder, number)
    target.mkdir(parents=True, exist_ok=True)
    with logged(target / "log.txt") as log:
        for metrics in train(architecture, folder=target, device=device, **settings):
            log.info("epoch %d: validation error %.4f", metrics.epoch, metrics.validation_error)
            yield metrics


def _identity(config: SearchConfig, data: ImageData, parts: Split, trial: TrialConfig) -> dict[str, Any]:
    """What the results of a search depend on: another search must not go on in its folder."""
    return {
        "search_space": config.search_space.to_dict(),
        "dataset": {
            "name": data.name,
            "resolution": data.resolution,
            "classes": data.classes,
            "images": len(data.train_labels),
            "class_names": list(data.class_names),
            "mean": [round(value, 6) for value in parts.mean],
            "std": [round(value, 6) for value in parts.std],
        },
        "trial": asdict(trial),
        "seed": config.seed,
    }


def _session(
    config: SearchConfig,
    folder: RunFolder,
    *,
    trials: int,
    epochs: int,
    cost: Callable[[Architecture], Complexity],
    about: Mapping[str, Any],
    say: Callable[[str], None],
) -> Session:
    store = TrialStore(folder.path, config.search_space, config.searcher, config.seed)
    tables = results.PeriodicTables()

    def progress(line: str) -> None:
        say(line)
        if tables.due():
            records = store.records()
            results.write_tables(folder, records)
            results.prune_weights(folder, records, config.keep_weights)

    return Session(
        space=config.search_space,
        store=store,
        budget=config.budget,
        tracker=config.tracker.open(folder=folder.path, group=folder.group, config=_flat_settings(config)),
        measure=cost,
        trials=trials,
        epochs=epochs,
        about=about,
        max_failures=config.max_failures,
        begin=folder.begin_trial,
        say=progress,
    )


def _trials(config: SearchConfig) -> int:
    """What was asked for, or the size of the space where that is less."""
    vectors = size(config.search_space)
    return config.trials if vectors is None else min(config.trials, vectors)


def _conclude(
    config: SearchConfig, folder: RunFolder, session: Session, console: Console, remarks: Remarks | None
) -> int:
    """Write the results, print the best and what to do next; returns the exit code."""
    records = session.store.records()
    results.write_tables(folder, records)
    best = results.write_best(folder, records)
    results.prune_weights(folder, records, config.keep_weights)
    notes = session.tracker.close()
    folder.close()
    counts = {name: sum(r.outcome == name for r in records) for name in dict.fromkeys(r.outcome for r in records)}
    if best is not None:
        Console(width=max(console.width, TABLE_WIDTH)).print(results.best_table(records), soft_wrap=True)
    say = functools.partial(console.print, markup=False)
    say(f"{folder.path}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    for note in notes:
        say(note)
    trained = sum(count for name, count in counts.items() if name in TRAINED)
    if session.failed:
        Console(stderr=True, soft_wrap=True).print(f"error: stopped: {session.stopped}", markup=False, highlight=False)
        return 1
    if not session.done:
        say(f"interrupted with {counts.get(RUNNING, 0)} trials open; go on with: {_same_command(folder.path)}")
        return INTERRUPTED
    if session.stopped and trained < config.trials:
        say(f"note: {session.stopped}")
    for line in remarks(records) if remarks else ():
        say(line)
    if best is not None:
        say(f"next: python promote.py run={folder.path} top=3")
        say(f"next: python export.py run={folder.path} trial=best out=exported")
    return 0


def _same_command(path: Path) -> str:
    """The command that goes on with this run."""
    kept = [argument for argument in sys.argv[1:] if not argument.startswith(("run=", "resume="))]
    return shlex.join(["python", sys.argv[0], *kept, f"run={path}", "resume=true"])


def _flat_settings(config: SearchConfig) -> dict[str, Any]:
    return {"space": config.search_space.name, "searcher": config.searcher.name, "scheduler": config.scheduler.name,
            "seed": config.seed}  # fmt: skip
