"""What the trainings of a promotion came to, as files and tables: made anew from their folders each time."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from promotion.entrants import Entrant
from promotion.folder import BEST_FILE, PromotionFolder
from promotion.training import DIVERGED, FAILED, Failure, Training
from seqconv import validation
from seqconv.files import write_atomically
from seqconv.serialization import read_yaml, to_yaml
from training.checkpoint import METRICS_FILE

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

RESULT_FILE = "result.yaml"
COMPLETED, OPEN = "completed", "open"
_OF_THE_COST = ("params", "macs", "serial_depth")
_COLUMNS = {
    "candidate": "str", "stage": "str", "seed": "Int64", "outcome": "str", "error": "float64", "test_error": "float64",
    "ema_error": "float64", "best_error": "float64", "epochs": "Int64", "seconds": "float64",
    "images_per_second": "float64", "skipped": "Int64", "params": "Int64", "macs": "Int64", "serial_depth": "Int64",
    "proxy_error": "float64", "reason": "str",
}  # fmt: skip
"""Of results.csv. `error` is that of the weights that are kept, `best_error` that of the best epoch."""
_SUMMARY_COLUMNS = {
    "candidate": "str", "stage": "str", "mean": "float64", "std": "float64", "seeds": "Int64", "failed": "Int64",
    "proxy_error": "float64", "params": "Int64", "macs": "Int64", "serial_depth": "Int64", "network": "str",
}  # fmt: skip
"""Of summary.csv: mean and sample standard deviation of the error over the seeds that were trained to the end."""


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """One training as its folder has it."""

    outcome: str
    """completed, diverged, failed, or open: to be begun or gone on with."""
    epochs: tuple[Mapping[str, float | None], ...] = ()
    """Metrics of every finished epoch."""
    reason: str | None = None
    """Why there is no result, the last line in short."""

    @property
    def error(self) -> float | None:
        """Test error of the weights that are kept, where it was trained to the end."""
        return _error(self.epochs[-1]) if self.outcome == COMPLETED else None

    def row(self) -> dict[str, Any]:
        """What results.csv says of it."""
        row: dict[str, Any] = {"outcome": self.outcome, "error": self.error, "epochs": len(self.epochs)}
        row["reason"] = self.reason.strip().splitlines()[-1] if self.reason else None
        if self.epochs:
            last = self.epochs[-1]
            row |= {name: last[name] for name in ("test_error", "ema_error", "skipped")}
            row["best_error"] = min(map(_error, self.epochs))
            row["seconds"] = sum(_given(epoch, "seconds") for epoch in self.epochs)
            row["images_per_second"] = fmean(_given(epoch, "images_per_second") for epoch in self.epochs)
        return row


@dataclass(frozen=True, kw_only=True)
class StageResults:
    """One stage: what it trains, and what came of it so far."""

    stage: str
    entrants: Sequence[Entrant]
    seeds: Mapping[str, Sequence[SeedResult]]
    """By name of the candidate, one for each seed."""

    def errors(self, name: str) -> list[float]:
        """Of the seeds of a candidate that were trained to the end."""
        return [result.error for result in self.seeds[name] if result.error is not None]

    def best_first(self) -> list[Entrant]:
        """The entrants that have a result: the most seeds first, and of them the lowest mean error."""
        trained = [entrant for entrant in self.entrants if self.errors(entrant.name)]
        return sorted(trained, key=lambda entrant: rank(self.errors(entrant.name)))

    @property
    def failed(self) -> int:
        """Trainings that another attempt may bring to a result."""
        return sum(result.outcome == FAILED for of_one in self.seeds.values() for result in of_one)


def rank(errors: Collection[float]) -> tuple[int, float]:
    """Sorts candidates by the errors of their seeds: a mean without the seeds that diverged flatters."""
    return -len(errors), fmean(errors)


def read_epochs(folder: Path) -> tuple[Mapping[str, float | None], ...]:
    """The metrics that a training wrote, an epoch each; nothing where it has not come that far."""
    try:
        text = (folder / METRICS_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    rows = csv.DictReader(text.splitlines())
    return tuple({name: float(value) if value else None for name, value in row.items()} for row in rows)


def read_seed(folder: Path) -> SeedResult:
    """What a training came to.

    Raises:
        ValueError: a result.yaml that cannot be read.
    """
    file = folder / RESULT_FILE
    end: Any = read_yaml(file) if file.is_file() else {"outcome": OPEN, "reason": None}
    end = validation.exact_keys(str(file), end, ("outcome", "reason"))
    return SeedResult(outcome=end["outcome"], reason=end["reason"], epochs=read_epochs(folder))


def write_end(training: Training, failure: Failure | None) -> None:
    """Note that a training came to its end."""
    end = {"outcome": COMPLETED, "reason": None} if failure is None else asdict(failure)
    write_atomically(training.folder / RESULT_FILE, to_yaml(end))


def read_stage(folder: PromotionFolder, stage: str, entrants: Sequence[Entrant], seeds: int) -> StageResults:
    """All trainings of a stage as they are: of so many seeds, or of more where more are there."""
    there = [
        int(path.name.rpartition("-")[2]) + 1 for e in entrants for path in folder.stage(e.name, stage).glob("seed-*")
    ]
    count = max(seeds, *there, 0)
    found = {e.name: [read_seed(folder.seed(e.name, stage, seed)) for seed in range(count)] for e in entrants}
    return StageResults(stage=stage, entrants=entrants, seeds=found)


def write_tables(folder: PromotionFolder, stages: Sequence[StageResults]) -> None:
    """results.csv and summary.csv, each replaced whole."""
    rows = [_about(results.stage, e) | {"seed": seed} | result.row()
            for results in stages for e in results.entrants
            for seed, result in enumerate(results.seeds[e.name])]  # fmt: skip
    summaries = [_about(results.stage, e) | _summary(results, e) for results in stages for e in results.entrants]
    for name, frame in (("results.csv", _frame(rows, _COLUMNS)), ("summary.csv", _frame(summaries, _SUMMARY_COLUMNS))):
        write_atomically(folder.path / name, frame.to_csv(index=False))


def write_best(folder: PromotionFolder, results: StageResults) -> Entrant:
    """best.yaml: the best of a stage, and which of its seeds to take."""
    best = results.best_first()[0]
    errors = {seed: r.error for seed, r in enumerate(results.seeds[best.name]) if r.error is not None}
    seed = min(errors, key=lambda seed: errors[seed])
    summary = {name: _summary(results, best)[name] for name in ("mean", "std", "seeds")}
    where = folder.seed(best.name, results.stage, seed).relative_to(folder.path).as_posix()
    content = {"candidate": best.name, "stage": results.stage, **summary, "seed": seed, "folder": where}
    write_atomically(folder.path / BEST_FILE, to_yaml(content))
    return best


def table(results: StageResults) -> Table:
    """A stage for the terminal, the lowest mean error first."""
    from rich.table import Table

    proxies = [entrant.candidate.proxy_error for entrant in results.entrants]
    of_search = ("of the search",) if any(proxy is not None for proxy in proxies) else ()
    made = Table(box=None, pad_edge=False)
    for name in (results.stage, "error %", "seeds", *of_search, "params", "MACs", "depth"):
        made.add_column(name, justify="left" if name == results.stage else "right", no_wrap=True)
    ranked = results.best_first()
    for entrant in [*ranked, *(e for e in results.entrants if e not in ranked)]:
        errors, cost, proxy = results.errors(entrant.name), entrant.cost, entrant.candidate.proxy_error
        made.add_row(
            entrant.name, percent(errors), f"{len(errors)} of {len(results.seeds[entrant.name])}",
            *("" if proxy is None else f"{100 * proxy:.2f}" for _ in of_search),
            f"{cost.params:,}", f"{cost.macs:,}", str(cost.serial_depth),
        )  # fmt: skip
    return made


def percent(errors: Sequence[float]) -> str:
    """Mean and standard deviation of errors, in percent."""
    if not errors:
        return "none"
    return f"{100 * fmean(errors):.2f}" + (f" ± {100 * stdev(errors):.2f}" if len(errors) > 1 else "")


def by_seed(results: StageResults, names: Sequence[str]) -> list[list[float]]:
    """Errors of candidates, NaN where there is none; as `promotion.transfer.transfer` takes a stage."""
    count = max(map(len, results.seeds.values()))
    known = {name: [math.nan if r.error is None else r.error for r in of] for name, of in results.seeds.items()}
    return [known.get(name, [math.nan] * count) for name in names]


def _about(stage: str, entrant: Entrant) -> dict[str, Any]:
    cost = {name: getattr(entrant.cost, name) for name in _OF_THE_COST}
    return {"candidate": entrant.name, "stage": stage, **cost, "proxy_error": entrant.candidate.proxy_error}


def _summary(results: StageResults, entrant: Entrant) -> dict[str, Any]:
    errors = results.errors(entrant.name)
    return {
        "mean": fmean(errors) if errors else None,
        "std": stdev(errors) if len(errors) > 1 else None,
        "seeds": len(errors),
        "failed": sum(result.outcome in (DIVERGED, FAILED) for result in results.seeds[entrant.name]),
        "network": entrant.spec.describe(),
    }


def _frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in columns.items()}
    )


def _error(epoch: Mapping[str, float | None]) -> float:
    """Of the averaged weights where there are some: those are kept."""
    return _given(epoch, "test_error" if epoch["ema_error"] is None else "ema_error")


def _given(epoch: Mapping[str, float | None], name: str) -> float:
    value = epoch[name]
    assert value is not None
    return value
