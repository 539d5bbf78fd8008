from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers.hypervolume import Hypervolume
from searchers.objectives import hypervolume, pareto_front


@given(st.integers(1, 4).flatmap(lambda m: st.lists(st.tuples(*[st.integers(-1, 5)] * m), min_size=1, max_size=12)))
def test_it_is_that_of_all_vectors_so_far(vectors: list[tuple[int, ...]]) -> None:
    reference = [4.0] * len(vectors[0])
    so_far = Hypervolume(reference)
    for end, vector in enumerate(vectors, start=1):
        assert so_far.add(vector) == so_far.volume == hypervolume(vectors[:end], reference)
        inside = [vector for vector in vectors[:end] if max(vector) < 4]
        assert so_far.front == len(pareto_front(inside))


def test_what_is_not_below_the_reference_everywhere_adds_nothing() -> None:
    so_far = Hypervolume([1.0, 1.0])
    for vector in ((0.5, 1.0), (math.nan, 0.5), (0.5, math.inf), (2.0, -9.0)):
        assert (so_far.add(vector), so_far.front) == (0.0, 0)


@pytest.mark.parametrize("front_alone", [False, True])
def test_a_thousand_trials_of_three_objectives(front_alone: bool) -> None:
    values = np.abs(np.random.default_rng(0).normal(size=(1000, 3)))
    if front_alone:
        values = (1 - values / np.linalg.norm(values, axis=1, keepdims=True))[:300]
    begin = time.process_time()
    so_far = Hypervolume([5.0] * 3)
    for vector in values:
        so_far.add(vector)
    assert time.process_time() - begin < 2
    assert so_far.volume == pytest.approx(hypervolume(values, [5.0] * 3), rel=1e-12)
