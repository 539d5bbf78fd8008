"""Against the definitions, written as plainly as they can be, and against Optuna's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _calculate_nondomination_rank

from searchers.objectives import (
    OBJECTIVES,
    check,
    check_limits,
    crowding,
    hypervolume,
    measured_first,
    pareto_front,
    ranks,
)

Vector = tuple[float, ...]
FEW = settings(max_examples=50)
KNOWN = "error, params, macs, serial_depth, activation_bytes, latency, energy"
NUMBERS = st.one_of(
    st.integers(0, 3).map(float),
    st.sampled_from([math.inf, -math.inf, -0.0, 1e-300, 1e300, 1 + 2**-52]),
    st.floats(allow_nan=False),
)
"""Often equal ones, and some of every size."""


def vectors(numbers: st.SearchStrategy[float] = NUMBERS, *, most: int = 12) -> st.SearchStrategy[list[Vector]]:
    """Up to so many vectors of one to four numbers."""
    return st.integers(1, 4).flatmap(lambda m: st.lists(st.tuples(*[numbers] * m), max_size=most))


def dominates(one: Vector, other: Vector) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def peeled(left: Sequence[Vector]) -> list[int]:
    """Ranks by taking away what nothing dominates, again and again."""
    found: dict[Vector, int] = {}
    for rank in itertools.count():
        rest = [vector for vector in left if vector not in found]
        if not rest:
            return [found[vector] for vector in left]
        found |= {v: rank for v in rest if not any(dominates(other, v) for other in rest)}
    raise AssertionError


class TestCheck:
    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ("error", ("error",)),
            (["error"], ("error",)),
            (["error", "macs"], ("error", "macs")),
            (("latency", "error", "params"), ("latency", "error", "params")),
            (list(OBJECTIVES), tuple(OBJECTIVES)),
        ],
    )
    def test_the_objectives_of_a_search(self, given: Any, names: tuple[str, ...]) -> None:
        assert check(given) == names

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ([], "objective must be error or a list such as [error, macs], got []"),
            (None, "objective must be error or a list such as [error, macs], got None"),
            (3, "objective must be error or a list such as [error, macs], got 3"),
            ({"error": 1}, "objective must be error or a list such as [error, macs], got {'error': 1}"),
            ("macs", "objective must contain error, because trials are trained for it; got macs"),
            (["params", "macs"], "objective must contain error, because trials are trained for it; got params, macs"),
            (["error", "macs", "error"], "objective names one twice: error, macs, error"),
            (["error", "mac"], f"objective must be one of {KNOWN}, got 'mac' (did you mean macs?)"),
            (["error", 3], f"objective must be one of {KNOWN}, got 3"),
            (["error", ["macs"]], f"objective must be one of {KNOWN}, got ['macs'] (did you mean macs?)"),
            ("", f"objective must be one of {KNOWN}, got ''"),
        ],
    )
    def test_what_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(ValueError) as error:
            check(given)
        assert str(error.value) == message


class TestCheckLimits:
    def test_the_limits_of_a_search(self) -> None:
        found = check_limits({"latency": 5, "error": 0.4})
        assert found == {"latency": 5.0, "error": 0.4}
        assert {type(limit) for limit in found.values()} == {float}
        assert check_limits({}) == check_limits({"latency": None, "error": None}) == {}
        assert check_limits({"latency": 5, "error": None}) == {"latency": 5.0}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (None, "limits must map objectives to their largest value, such as {latency: 5}, got None"),
            (5, "limits must map objectives to their largest value, such as {latency: 5}, got 5"),
            (["latency"], "limits must map objectives to their largest value, such as {latency: 5}, got ['latency']"),
            ({"latencies": 5}, "limits must be one of error, latency, energy, got 'latencies' (did you mean latency?)"),
            ({"params": 5}, "limits.params: is known before a trial; bound it with budget.params=[null,MAX]"),
            ({"activation_bytes": 5}, "limits must be one of error, latency, energy, got 'activation_bytes'"),
            ({"latency": 0}, "limits.latency must be a number above 0, got 0"),
            ({"latency": -1}, "limits.latency must be a number above 0, got -1"),
            ({"error": "0.4"}, "limits.error must be a number above 0, got '0.4'"),
            ({"error": True}, "limits.error must be a number above 0, got True"),
            ({"error": math.inf}, "limits.error must be a number above 0, got inf"),
            ({"error": math.nan}, "limits.error must be a number above 0, got nan"),
        ],
    )
    def test_what_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(ValueError) as error:
            check_limits(given)
        assert str(error.value) == message


class TestRanks:
    @FEW
    @given(vectors())
    def test_they_are_those_of_peeling(self, given: list[Vector]) -> None:
        assert ranks(given) == peeled(given)

    @FEW
    @given(vectors())
    def test_they_are_those_of_optuna(self, given: list[Vector]) -> None:
        values = np.array(given, dtype=float) if given else np.empty((0, 2))
        assert ranks(given) == [int(rank) for rank in _calculate_nondomination_rank(values)]

    @FEW
    @given(vectors(most=8), st.randoms(use_true_random=False))
    def test_they_do_not_depend_on_the_order(self, given: list[Vector], rng: Any) -> None:
        order = list(range(len(given)))
        rng.shuffle(order)
        assert ranks([given[i] for i in order]) == [ranks(given)[i] for i in order]

    def test_equal_vectors_share_one(self) -> None:
        assert ranks([(1, 1), (0, 2), (1, 1), (2, 2), (1, 2), (0.0, 2), (-0.0, 2)]) == [0, 0, 0, 2, 1, 0, 0]

    def test_what_is_not_a_number_is_neither_better_nor_worse(self) -> None:
        assert ranks([(math.nan, 0), (1, 1), (math.nan, 2), (2, 2)]) == [0, 0, 0, 1]

    def test_nothing_and_one(self) -> None:
        assert (ranks([]), ranks([(3.0, 4.0)])) == ([], [0])

    def test_many(self) -> None:
        values = np.random.default_rng(0).integers(0, 40, (500, 3))
        assert ranks(values) == _calculate_nondomination_rank(values.astype(float)).tolist()


class TestParetoFront:
    @FEW
    @given(vectors())
    def test_it_is_what_nothing_dominates_in_order(self, given: list[Vector]) -> None:
        found = pareto_front(given)
        best = [vector for vector in given if not any(dominates(other, vector) for other in given)]
        assert [given[i] for i in found] == sorted(set(best))

    @FEW
    @given(vectors())
    def test_of_equal_vectors_it_has_the_first(self, given: list[Vector]) -> None:
        assert all(given.index(given[i]) == i for i in pareto_front(given))

    @FEW
    @given(vectors())
    def test_it_is_the_first_rank(self, given: list[Vector]) -> None:
        first = {vector for vector, rank in zip(given, ranks(given), strict=True) if rank == 0}
        assert {given[i] for i in pareto_front(given)} == first


def counted(points: Sequence[Vector], reference: Sequence[int]) -> int:
    """Unit cells that a point dominates, of points with whole numbers."""
    cells = itertools.product(*[range(-1, high) for high in reference])
    return sum(any(all(a <= c for a, c in zip(point, cell, strict=True)) for point in points) for cell in cells)


class TestHypervolume:
    @FEW
    @given(
        st.integers(1, 4).flatmap(
            lambda m: st.tuples(
                st.lists(st.tuples(*[st.integers(-1, 5)] * m), max_size=6), st.tuples(*[st.integers(0, 4)] * m)
            )
        )
    )
    def test_it_is_the_number_of_unit_cells(self, given: tuple[list[Vector], tuple[int, ...]]) -> None:
        points, reference = given
        assert hypervolume(points, reference) == counted(points, reference)

    @FEW
    @given(vectors(st.floats(0, 1), most=10), st.floats(0.25, 1.5))
    def test_it_is_that_of_optuna(self, given: list[Vector], high: float) -> None:
        reference = [high] * (len(given[0]) if given else 2)
        inside = [vector for vector in given if all(value < high for value in vector)]
        expected = compute_hypervolume(np.array(inside), np.array(reference)) if inside else 0.0
        assert hypervolume(given, reference) == pytest.approx(expected, rel=1e-9, abs=1e-300)

    def test_objectives_of_very_different_magnitude(self) -> None:
        """Errors beside multiply-adds beside milliseconds."""
        generator = np.random.default_rng(0)
        values = generator.random((40, 3)) * [1.0, 1e9, 1e-3]
        reference = np.array([1.0, 1e9, 1e-3])
        assert hypervolume(values, reference) == pytest.approx(compute_hypervolume(values, reference), rel=1e-9)

    def test_what_is_not_below_the_reference_everywhere_adds_nothing(self) -> None:
        assert hypervolume([(0.5, 1.0), (1.0, 0.5), (0.0, math.inf), (2.0, -9.0)], [1, 1]) == 0
        assert hypervolume([(0.5, 0.5), (0.0, 1.0), (math.nan, 0.0)], [1, 1]) == 0.25

    def test_nothing_and_one(self) -> None:
        assert (hypervolume([], [1, 1]), hypervolume([(0.25,)], [1])) == (0, 0.75)

    def test_what_is_infinitely_good(self) -> None:
        assert hypervolume([(-math.inf, 0.0)], [1, 1]) == math.inf

    @FEW
    @given(vectors(st.integers(0, 4).map(float), most=6), st.data())
    def test_what_adds_to_the_front_adds_to_it(self, given: list[Vector], data: st.DataObject) -> None:
        size = len(given[0]) if given else 2
        more = data.draw(st.tuples(*[st.integers(0, 4).map(float)] * size))
        before, after = hypervolume(given, [5] * size), hypervolume([*given, more], [5] * size)
        worse = any(dominates(old, more) or old == more for old in given)
        assert (after == before) if worse else (after > before)


class TestCrowding:
    def test_by_hand(self) -> None:
        """Between its neighbours, as a share of the span, summed over the objectives; infinite at the ends."""
        front = [(0.0, 10.0), (4.0, 0.0), (1.0, 5.0), (2.0, 4.0)]
        assert crowding(front) == [math.inf, math.inf, 2 / 4 + 6 / 10, 3 / 4 + 5 / 10]

    def test_the_magnitude_of_an_objective_does_not_matter(self) -> None:
        front = [(0.0, 10.0), (4.0, 0.0), (1.0, 5.0), (2.0, 4.0)]
        scaled = [(error / 1024, macs * 2**30) for error, macs in front]
        assert crowding(scaled) == crowding(front)

    def test_equal_vectors_and_an_objective_that_is_the_same_for_all(self) -> None:
        assert crowding([(1.0, 1.0)] * 4) == [math.inf, 0, 0, math.inf]
        assert crowding([(0.0, 7.0), (1.0, 7.0), (2.0, 7.0), (4.0, 7.0)]) == [math.inf, 0.5, 0.75, math.inf]

    @pytest.mark.parametrize("few", [[], [(1.0, 2.0)], [(1.0, 2.0), (2.0, 1.0)]])
    def test_the_ends_are_the_loneliest(self, few: list[Vector]) -> None:
        assert crowding(few) == [math.inf] * len(few)

    @FEW
    @given(vectors(st.floats(-1e6, 1e6), most=8))
    def test_it_is_what_the_definition_says(self, given: list[Vector]) -> None:
        expected = [0.0] * len(given)
        for column in zip(*given, strict=True):
            order = sorted(range(len(column)), key=lambda i: column[i])
            span = column[order[-1]] - column[order[0]]
            expected[order[0]] = expected[order[-1]] = math.inf
            for before, i, after in zip(order, order[1:], order[2:], strict=False):
                expected[i] += (column[after] - column[before]) / span if span else 0
        assert crowding(given) == pytest.approx(expected)


class TestMeasuredFirst:
    def test_what_takes_a_measurement(self) -> None:
        assert measured_first(("error", "energy", "macs", "latency"), gpus=1) == ["latency", "energy"]
        assert measured_first(("error", "macs", "latency"), gpus=0) == ["latency"]

    @pytest.mark.parametrize("gpus", [0, 0.5])
    def test_energy_takes_a_whole_gpu(self, gpus: float) -> None:
        with pytest.raises(ValueError) as error:
            measured_first(("error", "energy"), gpus=gpus)
        assert str(error.value) == (
            "energy is counted by the driver of an NVIDIA GPU, for the whole of it; "
            f"a trial has {gpus:g} GPUs, see resources.gpu"
        )
