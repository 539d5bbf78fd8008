from __future__ import annotations

import random
from typing import Any

import pytest

from reporting.importance import FANOVA, PED_ANOVA, importances


def trials(number: int = 80) -> tuple[list[dict[str, Any]], list[float]]:
    """Knobs of all kinds, of which `large` alone matters."""
    rng = random.Random(0)
    vectors: list[dict[str, Any]] = []
    for _ in range(number):
        vector: dict[str, Any] = {"large": rng.random(), "mixed": rng.choice([1, "a", True]), "few": rng.choice([2, 4])}
        if vector["few"] == 4:
            vector["conditional"] = rng.random()
        vectors.append(vector | {"constant": 7})
    return vectors, [vector["large"] + 0.01 * rng.random() for vector in vectors]


def test_the_knob_that_matters_comes_first() -> None:
    vectors, errors = trials()
    found = importances(vectors, errors)
    assert list(found) == [PED_ANOVA, FANOVA]
    for shares in found.values():
        assert next(iter(shares)) == "large"
        assert shares["large"] > 0.6
        assert sum(shares.values()) == pytest.approx(1)
    assert set(found[PED_ANOVA]) == {"large", "mixed", "few", "conditional"}
    assert set(found[FANOVA]) == {"large", "mixed", "few"}


def test_it_is_the_same_each_time() -> None:
    assert importances(*trials(30)) == importances(*trials(30))


def test_there_is_none_without_a_choice() -> None:
    assert importances([{"a": 1}] * 10, [0.1] * 10) == {}
    assert importances([{}] * 10, [0.1] * 10) == {}


def test_knobs_that_are_all_conditional_have_no_fanova() -> None:
    vectors = [{"a": i % 3} if i % 2 else {"b": i % 5} for i in range(20)]
    assert list(importances(vectors, [i / 20 for i in range(20)])) == [PED_ANOVA]


def test_equal_errors_depend_on_nothing() -> None:
    assert importances(trials(20)[0], [0.5] * 20) == {}
