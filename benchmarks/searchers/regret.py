"""How far searchers are from the best of a table, against trials and against simulated time; nothing is trained.

    python benchmarks/searchers/regret.py --contenders random evolution optuna_tpe --repeats 100

Prints a table, and writes two CSVs (at the budgets, and whole curves) and a plot. README.md says how to read them.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nas_bench_201 import DATA, GRAPHS, STRINGS
from plot import plot
from repeats import NAS_BENCH_201, Place, Race, load, run
from simulator import MEAN, SEED, Setting
from summary import EVALUATIONS, HOURS, Curve, by_evaluations, by_hours, write
from table import Table
from trajectory import MEDIAN, WORST, Measure, Regret, Trajectory, Volume

RESULTS = Path("experiments/searchers")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A contender at a budget. README.md explains the columns."""

    table: str
    observe: str
    workers: int
    repeats: int
    measure: str
    contender: str
    axis: str
    budget: float
    mean: float
    standard_error: float
    proposal_ms: float
    duplicates: float
    arrival: float | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a curve."""

    measure: str
    contender: str
    axis: str
    at: float
    mean: float
    standard_error: float


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = parsed(arguments)
    try:
        race = _race(given)
        compare(race, given.contenders, given.budgets, given.out / (given.name or _name(given)), given.processes)
    except ValueError as error:
        sys.exit(f"error: {error}")


def compare(race: Race, contenders: Sequence[str], budgets: Sequence[int], out: Path, processes: int = 1) -> list[Row]:
    """Let contenders search, print a line for each, and write OUT.csv, OUT_curves.csv and OUT.png.

    Args:
        race: what all of them get.
        contenders: in the order in which they are shown; times are compared with the first one's.
        budgets: in trials.
        out: path of the files, without what they end in.
        processes: to spread the repeats over.

    Returns:
        What OUT.csv holds.
    """
    table = load(race.place)
    measures = _measures(table, race.objectives)
    print(_header(race, measures[0], budgets))
    searches: dict[str, list[Trajectory]] = {}
    began = time.perf_counter()
    for contender, found in run(race, contenders, processes):
        searches[contender] = found
        curve = by_evaluations(contender, found, measures[0], race.setting.evaluations)
        print(_line(curve, found, budgets, time.perf_counter() - began), flush=True)
    curves = _curves(searches, measures, race.setting.evaluations)
    shares = _arrivals(curves, contenders[0])
    rows = [row for curve in curves for row in _rows(curve, race, budgets, searches[curve.contender], shares)]
    write(out.with_name(f"{out.name}.csv"), rows)
    write(out.with_name(f"{out.name}_curves.csv"), [point for curve in curves for point in _points(curve)])
    title = (
        f"{table.space.name}: a trial reports the {race.setting.observe}; {race.repeats} repeats, two standard errors"
    )
    labels = {measure.name: measure.label for measure in measures}
    print(f"{out}.csv, {plot(curves, labels, title, out.with_name(f'{out.name}.png'))}")
    for (measure, contender), share in shares.items():
        when = "never" if share is None else f"after {share:.3f} of its time"
        print(f"{measure}: {contender} is where {contenders[0]} ended {when}")
    return rows


def _measures(table: Table, names: Sequence[str]) -> list[Measure]:
    if len(names) == 1:
        return [Regret(table)]
    volumes = [Volume(table, names, reference) for reference in (WORST, MEDIAN)]
    useful: list[Measure] = [volume for volume in volumes if volume.whole > 0]
    if not useful:
        raise ValueError(f"table {table.space.name}: one of {', '.join(names)} is the same for all architectures")
    return useful


def _curves(searches: Mapping[str, Sequence[Trajectory]], measures: Sequence[Measure], evaluations: int) -> list[Curve]:
    """Against trials, up to where the longest search got, and against time, up to where all of them got."""
    trials = min(evaluations, max(len(one) for found in searches.values() for one in found))
    hours = min(one.ended / 3600 for found in searches.values() for one in found)
    curves = []
    for measure in measures:
        for contender, found in searches.items():
            curves.append(by_evaluations(contender, found, measure, trials))
            curves.append(by_hours(contender, found, measure, hours))
    return curves


def _arrivals(curves: Sequence[Curve], first: str) -> dict[tuple[str, str], float | None]:
    """By measure and contender: when it first was where the first contender ended, as a share of all simulated time."""
    timed = {(curve.measure, curve.contender): curve for curve in curves if curve.axis == HOURS}
    shares: dict[tuple[str, str], float | None] = {}
    for (measure, contender), curve in timed.items():
        hours = curve.first_within(float(timed[measure, first].means[-1]))
        shares[measure, contender] = None if hours is None else hours / float(curve.points[-1])
    return shares


def _rows(
    curve: Curve,
    race: Race,
    budgets: Sequence[int],
    searches: Sequence[Trajectory],
    shares: Mapping[tuple[str, str], float | None],
) -> list[Row]:
    """At the budgets in trials, or at the end of the time."""
    wanted = [float(budget) for budget in budgets] if curve.axis == EVALUATIONS else [float(curve.points[-1])]
    rows = []
    for budget in wanted:
        mean, error = curve.at(budget)
        share = shares[curve.measure, curve.contender] if curve.axis == HOURS else None
        rows.append(
            Row(
                table=load(race.place).space.name,
                observe=race.setting.observe,
                workers=race.setting.workers,
                repeats=race.repeats,
                measure=curve.measure,
                contender=curve.contender,
                axis=curve.axis,
                budget=_short(budget),
                mean=_short(mean),
                standard_error=_short(error),
                proposal_ms=_short(_proposal_ms(searches)),
                duplicates=_short(float(np.mean([one.duplicates for one in searches]))),
                arrival=None if share is None else _short(share),
            )
        )
    return rows


def _points(curve: Curve) -> list[Point]:
    """Every trial of the first hundred, then one in five."""
    kept = [i for i in range(len(curve.points)) if curve.axis == HOURS or i < 100 or i % 5 == 4]
    return [
        Point(
            measure=curve.measure,
            contender=curve.contender,
            axis=curve.axis,
            at=_short(curve.points[i]),
            mean=_short(curve.means[i]),
            standard_error=_short(curve.errors[i]),
        )
        for i in kept
    ]


def _header(race: Race, measure: Measure, budgets: Sequence[int]) -> str:
    setting = race.setting
    until = "" if math.isinf(setting.seconds) else f", {setting.seconds / 3600:.3g} simulated hours"
    return (
        f"{load(race.place).space.name}, observed: {setting.observe}, workers: {setting.workers}, "
        f"{race.repeats} repeats{until}\n{measure.label}, at trials\n"
        + " ".join([f"{'contender':<24}", *(f"{budget:>15}" for budget in budgets), "  ms a proposal", "duplicates"])
    )


def _line(curve: Curve, searches: Sequence[Trajectory], budgets: Sequence[int], seconds: float) -> str:
    cells = [f"{'{:.4f} ± {:.4f}'.format(*curve.at(budget)):>15}" for budget in budgets]
    duplicates = np.mean([one.duplicates for one in searches])
    tail = f"{_proposal_ms(searches):>15.2f} {duplicates:>10.1f}  ({seconds:.0f} s so far)"
    return " ".join([f"{curve.contender:<24}", *cells, tail])


def _proposal_ms(searches: Sequence[Trajectory]) -> float:
    return 1000 * sum(one.proposing for one in searches) / max(1, sum(one.proposals for one in searches))


def _short(number: float) -> float:
    return float(f"{number:.5g}")


def _name(given: argparse.Namespace) -> str:
    table = load(Place(table=given.table, data=given.data, identity=given.identity)).space.name
    words = [table, "-".join(given.objectives) if len(given.objectives) > 1 else given.observe]
    return "_".join(words + [f"{given.workers}_workers"] * (given.workers > 1))


def _race(given: argparse.Namespace) -> Race:
    place = Place(table=given.table, data=given.data, identity=given.identity)
    limit = max(given.budgets) if given.hours is None else len(load(place))
    setting = Setting(
        evaluations=limit,
        seconds=math.inf if given.hours is None else 3600 * given.hours,
        workers=given.workers,
        observe=given.observe,
        seed=given.seed,
    )
    return Race(place=place, setting=setting, repeats=given.repeats, objectives=given.objectives)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--contenders", nargs="+", required=True, metavar="SEARCHER[:KEY=VALUE,...][+SCHEDULER[:KEY=VALUE,...]]"
    )
    parser.add_argument("--table", default=NAS_BENCH_201, help=f"{NAS_BENCH_201} (default), or a file FILE.parquet")
    parser.add_argument("--data", choices=DATA, default="cifar10", help="of NAS-Bench-201 (default: %(default)s)")
    parser.add_argument("--identity", choices=(STRINGS, GRAPHS), default=STRINGS, help="of NAS-Bench-201's cells")
    parser.add_argument("--observe", choices=(MEAN, SEED), default=MEAN, help="by a trial; judged is the mean")
    parser.add_argument("--objectives", type=_words, default=["error"], help="error, or several such as error,macs")
    parser.add_argument("--budgets", type=_numbers, default=[50, 100, 200], help="in trials (default: 50,100,200)")
    parser.add_argument("--hours", type=float, help="simulated; instead of the highest budget")
    parser.add_argument("--repeats", type=int, default=100, help="searches of each contender (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="trials at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first repeat (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="to spread the repeats over (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder (default: %(default)s)")
    parser.add_argument("--name", help="of the files; by default made of the table and what is observed")
    return parser.parse_args(arguments)


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    if not all(word.isdecimal() and int(word) > 0 for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"must be numbers above 0 such as 50,100,200, got {text!r}")
    return sorted({int(word) for word in text.split(",")})


if __name__ == "__main__":
    main()
