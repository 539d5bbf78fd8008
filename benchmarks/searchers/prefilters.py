"""What a pre-filter brings a searcher: searches of the window table with proxies' scores, and with the predictor.

    python benchmarks/searchers/prefilters.py --out experiments/predictor/prefilters.csv

A trial reports the error of one seed, drawn for each search, and is judged by the mean over the seeds: so only
architectures that were trained with several count, and the others are refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import contenders
import pandas as pd
from omegaconf import OmegaConf
from parquet_table import from_frame
from simulator import SEED, Setting, simulate
from summary import by_evaluations, write
from table import Table
from trajectory import Regret, Trajectory

import command_line
from searchers import predictor
from searchers.prefilter import PREDICTOR, Scoring, first, prefiltered
from searchers.searcher import Problem
from training.zero_cost.names import PROXIES

TABLE = Path("experiments/window_table/window_table.parquet")
NONE = "none"
SPACE = "windowed_small.yaml"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A searcher with a pre-filter, after a number of trials."""

    searcher: str
    prefilter: str
    trials: int | None
    """That were chosen by it; None: all."""
    repeats: int
    evaluations: int
    mean: float
    """Regret in points of error."""
    standard_error: float


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = _parsed(arguments)
    try:
        rows = compare(given)
    except ValueError as error:
        sys.exit(f"error: {error}")
    write(given.out, rows)
    print(given.out)


def compare(given: argparse.Namespace) -> list[Row]:
    """A line for each searcher and pre-filter, and a row for each budget."""
    table = several_seeds(given.table)
    problem = over(table)
    scores = pd.read_csv(given.scores).query("seed == 0").set_index(["proxy", "fingerprint"])["score"]
    print(f"{len(table)} architectures; mean regret in points at {', '.join(map(str, given.budgets))} trials")
    rows = []
    for searcher in given.searchers:
        for name in given.prefilters:
            for trials in [None] if name in (NONE, PREDICTOR) else given.trials:
                known = {} if name in (NONE, PREDICTOR) else scores[name].to_dict()
                searches = [
                    search(table, problem, searcher, name, known, trials=trials, ratio=given.ratio, seed=seed,
                           evaluations=max(given.budgets))
                    for seed in range(given.repeats)
                ]  # fmt: skip
                made = _rows(table, searches, searcher, name, trials, given.budgets)
                rows += made
                cells = "  ".join(f"{row.mean:.2f} ± {row.standard_error:.2f}" for row in made)
                print(f"{searcher:<14} {name:<10} {trials or 'all':>4}  {cells}", flush=True)
    return rows


def several_seeds(path: Path) -> Table:
    """The architectures of a table that have as many trainings as any."""
    frame = pd.read_parquet(path)
    trainings = frame.groupby("fingerprint")["seed"].transform("size")
    return from_frame(path.stem, frame[trainings == trainings.max()])


def over(table: Table) -> Problem:
    """The real space, whose architectures a predictor looks at; those that the table lacks are refused."""
    names = {entry.name for entry in table.space.entries.values()}
    return Problem(
        space=command_line.instantiate(OmegaConf.load(command_line.CONF / "search_space" / SPACE)),
        epochs=table.epochs[-1],
        refusal=lambda architecture: None if architecture.fingerprint() in names else "not in the table",
    )


def search(
    table: Table,
    problem: Problem,
    searcher: str,
    name: str,
    scores: dict[str, float],
    *,
    trials: int | None,
    ratio: int,
    seed: int,
    evaluations: int,
) -> Trajectory:
    """One search."""
    propose = contenders.propose(searcher, problem)
    if name != NONE:
        scoring: Scoring = (
            predictor.scoring(problem)
            if name == PREDICTOR
            else lambda history: lambda architecture: scores[architecture.fingerprint()]
        )
        propose = prefiltered(propose, problem, scoring if trials is None else first(trials, problem, scoring), ratio)
    return simulate(table, problem, propose, Setting(evaluations=evaluations, observe=SEED, seed=seed))


def _rows(
    table: Table,
    searches: Sequence[Trajectory],
    searcher: str,
    name: str,
    trials: int | None,
    budgets: Sequence[int],
) -> list[Row]:
    curve = by_evaluations(searcher, searches, Regret(table), max(budgets))
    return [
        Row(
            searcher=searcher,
            prefilter=name,
            trials=trials,
            repeats=len(searches),
            evaluations=budget,
            mean=round(curve.at(budget)[0], 4),
            standard_error=round(curve.at(budget)[1], 4),
        )
        for budget in budgets
    ]


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    folder = Path("experiments")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--scores", type=Path, default=folder / "zero_cost" / "scores.csv", help="of the proxies")
    parser.add_argument("--searchers", nargs="+", default=["random"])
    parser.add_argument(
        "--prefilters", nargs="+", default=[NONE, "macs", "zen", PREDICTOR], choices=(NONE, *PROXIES, PREDICTOR)
    )
    parser.add_argument("--trials", nargs="+", type=_trials, default=[8, None], help="chosen so; all: every one")
    parser.add_argument("--ratio", type=int, default=8, help="proposals for each trial (default: %(default)s)")
    parser.add_argument("--budgets", nargs="+", type=int, default=[4, 8, 16, 24, 32], help="in trials")
    parser.add_argument("--repeats", type=int, default=100, help="searches of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=folder / "predictor" / "prefilters.csv", help="file")
    return parser.parse_args(arguments)


def _trials(text: str) -> int | None:
    return None if text == "all" else int(text)


if __name__ == "__main__":
    main()
