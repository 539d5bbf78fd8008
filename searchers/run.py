"""A search from its configuration to its results, top to bottom."""

from __future__ import annotations

import contextlib
import functools
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from search_spaces.space import size
from search_spaces.summary import check_budget, check_space, summarize
from searchers import environment, opening, packing, proxy_trial, results, run_folder
from searchers.algorithms.grid import Grid
from searchers.config import SearchConfig, TrainTrial
from searchers.ending import next_commands, print_best
from searchers.interrupt import INTERRUPTED, terminate_like_interrupt
from searchers.objectives import measured_first
from searchers.population import PopulationBasedTraining
from searchers.prefilter import make_scoring, prefiltered
from searchers.progress import open_progress
from searchers.record import RUNNING, TrialRecord
from searchers.redaction import redacted_text
from searchers.run_folder import RunFolder
from searchers.schedulers import rungs
from searchers.searcher import Problem, Propose
from searchers.session import Session
from searchers.study import TrialStore
from searchers.warm_sources import read_sources
from searchers.warm_start import warm
from seqconv import Architecture, Complexity, measure
from training import checkpoint, fidelity
from training.data import ImageData, Split, split
from training.trial import TrialConfig

COSTS = 1000
"""Architectures whose cost is kept in memory: one is asked for again soon after it was measured, or hardly ever."""
Remarks = Callable[[Path, list[TrialRecord]], list[str]]
"""Lines for the user about a search that is done: (run folder, trials) -> lines."""


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
    summary = summarize(config.search_space, **measured)
    for line in summary.lines():
        say(line)
    examples = [architecture for architecture, _ in (summary.smallest, summary.middle, summary.largest)]
    fidelity.check_resolution(trial, data.resolution, examples)
    check_budget(config.search_space, config.budget, **measured)
    parts = split(data, validation=data.proxy.validation, share=trial.share, validation_limit=trial.validation_limit)
    cost = functools.lru_cache(COSTS)(functools.partial(measure, resolution=data.resolution, classes=data.classes))
    problem = _problem(config, epochs=trial.epochs, cost=cost)
    given = read_sources(config.warm_start, problem, top=config.warm_start_top)
    searcher = warm(_searcher(config, problem, parts, classes=data.classes), problem, given.vectors)
    for line in (*given.lines, *opening.unused_population(config.searcher, _trials(config))):
        say(line)
    identity = _identity(config, data, parts, trial)
    config.store.check(identity)
    belongs = {**identity, "store": config.store.where}
    path, exists = run_folder.choose(config.run, config.resume, belongs)
    run_folder.check_identity(path, belongs)
    from searchers import ray_backend, ray_cluster, ray_shared

    epochs = fidelity.fidelities(trial, parts, epochs=trial.epochs)
    needed = functools.partial(packing.most_needed, config.search_space, trial, parts, epochs, data.classes)
    resources = packing.resolved(config.resources, config.backend, needed, say)
    share = ray_cluster.connect(config.backend, resources, config.concurrency, say=say)
    ray_shared.check_shared("run", path)
    before_training = measured_first((*config.objective, *config.limits), gpus=share.gpu)
    folder = RunFolder(path)
    about = {
        **environment.describe(share.cluster, data.source),
        "of_each_trial": {"cpus": share.cpu, "gpus": share.gpu},
    }
    folder.open(belongs, {"config": config.plain, "environment": about})
    say(f"run: {path} ({'going on' if exists else 'new'}), {share.concurrency} trials at a time on {share.cluster}")
    validated = len(parts.validation_labels)
    say(f"trial: {fidelity.describe(epochs, width=trial.width, validated=validated, side=data.resolution)}")
    work = {"split": parts, "config": trial, "classes": data.classes, "seed": config.seed,
            "measured": before_training}  # fmt: skip
    compared = rungs(config.scheduler, trial.epochs)
    population = config.scheduler if isinstance(config.scheduler, PopulationBasedTraining) else None
    if population is not None:
        work["keep"] = compared
    store = config.store.open(folder, config.search_space, config.objective, identity, say)
    before = store.records()
    for line in opening.outside_budget(before, config.budget):
        say(line)
    progress = open_progress(
        console,
        trials=_trials(config),
        epochs=trial.epochs,
        concurrency=share.concurrency,
        history=before,
        objectives=config.objective,
        gpus=share.gpu > 0,
        costs=fidelity.costs(epochs, validated),
    )
    try:
        session = Session(
            problem=problem,
            store=store,
            searcher=searcher,
            seed=config.seed,
            budget=config.budget,
            tracker=config.tracker.open(
                folder=folder.path,
                group=folder.group,
                config=_flat_settings(config),
                space=config.search_space,
                objectives=config.objective,
            ),
            measure=cost,
            trials=_trials(config),
            limits=config.limits,
            rungs=compared,
            population=population,
            kept=lambda number, epoch: checkpoint.kept(folder.trial(number), epoch).is_file(),
            about={"dataset": data.name},
            max_failures=config.max_failures,
            begin=folder.begin_trial,
            ended=_filing(config, folder, store),
            progress=progress,
        )
        with terminate_like_interrupt(), _mendable(folder):
            ray_backend.run(
                session,
                share=share,
                scheduler=config.scheduler,
                retries=config.backend.retries,
                limits=config.trial_limits,
                train=train_trial or proxy_trial.train_proxy,
                folder=path.resolve(),
                shared=work,
            )
    finally:
        progress.close()
        store.close()
    with _mendable(folder):
        return _conclude(config, folder, session, console, remarks)


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
        "objective": list(config.objective),
        "limits": dict(config.limits),
        "seed": config.seed,
    }


def _searcher(config: SearchConfig, problem: Problem, parts: Split, *, classes: int) -> Propose:
    """The configured one, behind a prefilter where there is one."""
    searcher = config.searcher.bind(problem)
    if config.prefilter.name is None:
        return searcher
    if isinstance(config.searcher, Grid):
        raise ValueError("prefilter chooses among several proposals, and searcher=grid makes one; random takes it")
    scoring = make_scoring(config.prefilter, problem, parts, classes=classes, seed=config.seed)
    return prefiltered(searcher, problem, scoring, config.prefilter.ratio)


def _filing(config: SearchConfig, folder: RunFolder, store: TrialStore) -> Callable[[], None]:
    """Writes the tables anew now and then, and removes weights that nobody will ask for."""
    now_and_then = results.NowAndThen()

    def write() -> None:
        records = store.records()
        results.write_tables(folder, records)
        results.prune_weights(folder, records, config.keep_weights, config.objective)

    return functools.partial(now_and_then, write)


def _problem(config: SearchConfig, *, epochs: int, cost: Callable[[Architecture], Complexity]) -> Problem:
    bounded = bool(config.budget.bounds())
    return Problem(
        space=config.search_space,
        objectives=config.objective,
        epochs=epochs,
        refusal=lambda architecture: config.budget.refusal(cost(architecture)) if bounded else None,
    )


def _trials(config: SearchConfig) -> int:
    """What was asked for, or the size of the space where that is less and each architecture is trained once."""
    if isinstance(config.scheduler, PopulationBasedTraining):
        return config.trials
    vectors = size(config.search_space)
    return config.trials if vectors is None else min(config.trials, vectors)


def _conclude(
    config: SearchConfig, folder: RunFolder, session: Session, console: Console, remarks: Remarks | None
) -> int:
    """Write the results, print the best and what to do next; returns the exit code."""
    records = list(session.history)
    results.write_tables(folder, records)
    best = results.write_best(folder, records)
    if len(config.objective) > 1:
        results.write_front(folder, records, config.objective)
    results.prune_weights(folder, records, config.keep_weights, config.objective)
    notes = session.tracker.close()
    folder.close()
    counts = {name: sum(r.outcome == name for r in records) for name in dict.fromkeys(r.outcome for r in records)}
    if best is not None:
        print_best(console, records, config.objective)
    say = functools.partial(console.print, markup=False)
    say(f"{folder.path}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    for note in notes:
        say(note)
    trained = sum(record.counts for record in records)
    if session.failed:
        Console(stderr=True, soft_wrap=True).print(f"error: stopped: {session.stopped}", markup=False, highlight=False)
        return 1
    if not session.done:
        say(f"interrupted with {counts.get(RUNNING, 0)} trials open; go on with: {_same_command(folder.path)}")
        return INTERRUPTED
    checkpoint.remove_kept(folder.path / "trials")
    if session.stopped and trained < config.trials:
        say(f"note: {session.stopped}")
    for line in remarks(folder.path, records) if remarks else ():
        say(line)
    if best is not None:
        for line in next_commands(folder.path, records, config.objective):
            say(line)
    return 0


@contextlib.contextmanager
def _mendable(folder: RunFolder) -> Iterator[None]:
    """What the system refuses inside, as a disk that is read-only since, is said with the command that goes on."""
    try:
        yield
    except OSError as error:
        folder.close()
        raise OSError(f"{error}; once that is mended, go on with: {_same_command(folder.path)}") from error


def _same_command(path: Path) -> str:
    """The command that goes on with this run."""
    kept = [argument for argument in sys.argv[1:] if not argument.startswith(("run=", "resume="))]
    return redacted_text(shlex.join(["python", sys.argv[0], *kept, f"run={path}", "resume=true"]))


def _flat_settings(config: SearchConfig) -> dict[str, Any]:
    return {"space": config.search_space.name, "searcher": config.searcher.name, "scheduler": config.scheduler.name,
            "seed": config.seed}  # fmt: skip
