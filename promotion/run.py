"""A promotion from its configuration to its results, top to bottom."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from promotion import candidates, folder, results, stage_data
from promotion.candidates import Candidate
from promotion.config import PromoteConfig
from promotion.entrants import Entrant, enter
from promotion.folder import PromotionFolder
from promotion.identity import identify
from promotion.progress import Progress
from promotion.results import COMPLETED, StageResults
from promotion.training import DIVERGED, Failure, Machine, Training
from searchers import environment
from searchers.interrupt import INTERRUPTED, terminate_like_interrupt
from searchers.redaction import redacted_text
from searchers.study import read_records
from seqconv import write_architecture
from seqconv.realisation import side_by_side
from seqconv.serialization import ARCHITECTURE_FILE
from training.full.data import FullData

TABLE_WIDTH = 160
Join = Callable[[PromoteConfig, Path, Callable[[str], None]], Machine]
"""(configuration, folder of the promotion, say) -> what the trainings run on."""


def run_promotion(config: PromoteConfig, *, join: Join | None = None) -> int:
    """Run, or go on with, a promotion; returns the exit code: 0 done, 1 a whole stage failed, 130 interrupted.

    Args:
        config: what to train in full.
        join: gives what trainings run on; the default is Ray.

    Raises:
        ValueError, OSError: input that cannot be used; nothing has been written by then.
    """
    console = Console(highlight=False, soft_wrap=True)
    say = functools.partial(console.print, markup=False)
    chosen = candidates.choose(
        run=config.run,
        top=config.top,
        pareto=config.pareto,
        trials=config.trials,
        presets=config.presets,
        files=config.files,
        timm=config.timm,
    )
    data = stage_data.load(config)
    for line in stage_data.describe(config, data):
        say(line)
    identity = identify(config, data)
    path, exists = folder.choose(config.out, _name(config, chosen), identity, chosen)
    if exists:
        chosen = folder.read_candidates(path)
    entrants = {name: [_enter(c, name, config, data[name]) for c in chosen] for name in data}
    place, machine = PromotionFolder(path), None
    try:
        with terminate_like_interrupt():
            machine = (join or _join_ray)(config, path, say)
            source = "; ".join(images.source for images in data.values())
            about = {"config": config.plain, "environment": environment.describe(machine.cluster, source)}
            place.open(identity, chosen, about)
            at_a_time = f"{machine.concurrency} trainings at a time on {machine.cluster}"
            say(f"promotion: {path} ({'going on' if exists else 'new'}), {at_a_time}")
            return _Promotion(config=config, place=place, machine=machine, data=data, console=console).run(entrants)
    except KeyboardInterrupt:
        say(f"interrupted; go on with: {_same_command(path)}")
        return INTERRUPTED
    finally:
        if machine is not None:
            machine.close()
        place.close()


@dataclass(frozen=True, kw_only=True)
class _Promotion:
    """Everything that the stages have in common."""

    config: PromoteConfig
    place: PromotionFolder
    machine: Machine
    data: Mapping[str, FullData]
    console: Console

    def say(self, line: str) -> None:
        """A line for the user."""
        self.console.print(line, markup=False)

    def run(self, entrants: Mapping[str, Sequence[Entrant]]) -> int:
        """Train stage by stage; returns the exit code."""
        done: list[StageResults] = []
        reached = {entrant.name for of_stage in entrants.values() for entrant in of_stage}
        for stage, of_stage in entrants.items():
            done.append(self._train(stage, [e for e in of_stage if e.name in reached], done))
            self._show(results.table(done[-1]))
            ranked = done[-1].best_first()
            if not ranked:
                self._complain(done[-1])
                return 1
            if done[-1].failed and len(done) < len(entrants):
                self._complain(done[-1])
                return 1
            reached = {entrant.name for entrant in ranked[: self.config.keep]}
        self._conclude(done)
        return 0

    def _train(self, stage: str, entrants: Sequence[Entrant], before: Sequence[StageResults]) -> StageResults:
        """Whatever of a stage is not trained yet."""
        recipe, data = self.config.chosen_stages[stage].recipe, self.data[stage]
        self._announce(stage, entrants)
        read = functools.partial(results.read_stage, self.place, stage, entrants, self.config.seeds)
        trainings = self._due(read())
        left = {training.folder for training in trainings}

        def ended(training: Training, failure: Failure | None) -> None:
            results.write_end(training, failure)
            results.write_tables(self.place, [*before, read()])
            left.remove(training.folder)
            result = results.read_seed(training.folder)
            end = f"test error {result.error:.4f}" if failure is None else f"{failure.outcome}: {failure.short}"
            self.say(f"{training.label}: {end}  [{len(trainings) - len(left)}/{len(trainings)}]")

        watch = Progress(recipe.epochs, self.say).look
        if trainings:
            self.machine.train(trainings, data, recipe, ended=ended, watch=watch)
        results.write_tables(self.place, [*before, read()])
        return read()

    def _announce(self, stage: str, entrants: Sequence[Entrant]) -> None:
        recipe, seeds = self.config.chosen_stages[stage].recipe, self.config.seeds
        images = f"{self.data[stage].train_size:,} images in batches of {recipe.batch_size}"
        count = f"{len(entrants)} candidate{'s' * (len(entrants) > 1)} x {seeds} seed{'s' * (seeds > 1)}"
        self.say(f"stage {stage}: {count}, {recipe.epochs} epochs of {images}")
        for entrant in entrants:
            found, trained = entrant.candidate.architecture, entrant.spec.architecture
            if found is not None and trained is not None and found != trained:
                self.say(f"  {entrant.name}:")
                for line in side_by_side(found, trained, **_goal(self.config, stage, self.data[stage])):
                    self.say(line)
            else:
                self.say(f"  {entrant.name}: {entrant.spec.describe()}, {entrant.cost.params:,} params")

    def _due(self, found: StageResults) -> list[Training]:
        """What is to be trained, a seed of every candidate first; its folders are made."""
        trainings = []
        for seed in range(self.config.seeds):
            for entrant in found.entrants:
                if found.seeds[entrant.name][seed].outcome in (COMPLETED, DIVERGED):
                    continue
                target = self.place.seed(entrant.name, found.stage, seed)
                target.mkdir(parents=True, exist_ok=True)
                (target / results.RESULT_FILE).unlink(missing_ok=True)
                if entrant.spec.architecture is not None:
                    write_architecture(entrant.spec.architecture, target.parent / ARCHITECTURE_FILE)
                trainings.append(
                    Training(
                        candidate=entrant.name, stage=found.stage, seed=seed, folder=target.resolve(), spec=entrant.spec
                    )
                )
        return trainings

    def _conclude(self, done: Sequence[StageResults]) -> None:
        """Write what there is to say of it all, and print it with the next command."""
        best = results.write_best(self.place, done[-1])
        self._transfer(done)
        self.say(f"{self.place.path}: best of {done[-1].stage} is {best.name}, "
                 f"test error {results.percent(done[-1].errors(best.name))} %")  # fmt: skip
        self.say(f"next: python export.py run={shlex.quote(str(self.place.path))} trial=best out=exported")

    def _transfer(self, done: Sequence[StageResults]) -> None:
        """How well the ranking of the search, and of each stage, held."""
        from promotion import transfer_plot, transfer_report
        from promotion.transfer import transfer

        ranked = [entrant.candidate for entrant in done[0].entrants]
        if len(ranked) < 2 or (len(done) == 1 and not any(c.proxy_error is not None for c in ranked)):
            return
        names = [candidate.name for candidate in ranked]
        found = transfer(
            names,
            proxy=[candidate.proxy_error for candidate in ranked],
            proxy_errors=[candidate.proxy_errors for candidate in ranked],
            stages={of_stage.stage: results.by_seed(of_stage, names) for of_stage in done},
        )
        transfer_report.write_csv(found, self.place.path / "transfer.csv")
        run = None if self.config.run is None else Path(self.config.run).expanduser()
        rungs = [] if run is None else transfer_report.rung_lines(read_records(run))
        for line in [*transfer_report.lines(found), *rungs]:
            self.say(line)
        transfer_plot.plot(self.place.path / "transfer.png", found)

    def _complain(self, found: StageResults) -> None:
        last = [result.reason for of_one in found.seeds.values() for result in of_one if result.reason][-1]
        failed = f"{found.failed} trainings of stage {found.stage} failed"
        what = failed if found.best_first() else f"no training of stage {found.stage} came to a result"
        again = ", which the same command tries again" if found.failed else ""
        message = f"error: {what}{again}; the last one: {last.splitlines()[-1]}"
        Console(stderr=True, soft_wrap=True).print(message, markup=False, highlight=False)

    def _show(self, table: Table) -> None:
        Console(width=max(self.console.width, TABLE_WIDTH)).print(table, soft_wrap=True)


def _enter(candidate: Candidate, stage: str, config: PromoteConfig, data: FullData) -> Entrant:
    recipe = config.chosen_stages[stage].recipe
    return enter(candidate, stage, data, recipe, target=config.target, measure_of=config.measure)


def _goal(config: PromoteConfig, stage: str, data: FullData) -> dict[str, Any]:
    """What an ImageNet realisation is to cost, and with which images that is measured."""
    resolution = config.chosen_stages[stage].recipe.tested_at(data.resolution)
    return {"target": config.target, "measure": config.measure, "classes": data.classes, "resolution": resolution}


def _name(config: PromoteConfig, chosen: Sequence[Candidate]) -> str:
    return chosen[0].name if config.run is None else Path(config.run).expanduser().resolve().name


def _same_command(path: Path) -> str:
    """The command that goes on with this promotion."""
    kept = [argument for argument in sys.argv[1:] if not argument.startswith("out=")]
    return redacted_text(shlex.join(["python", sys.argv[0], *kept, f"out={path}"]))


def _join_ray(config: PromoteConfig, path: Path, say: Callable[[str], None]) -> Machine:
    from promotion.ray_train import RayMachine

    return RayMachine(config, path, say)
