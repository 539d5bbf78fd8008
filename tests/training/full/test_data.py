from __future__ import annotations

import pytest

from training.full.data import micro_batch
from training.full.recipe import Recipe


@pytest.mark.parametrize(("accumulate", "world", "images"), [(1, 1, 64), (4, 1, 16), (1, 2, 32), (4, 8, 2), (2, 2, 16)])
def test_a_batch_is_divided_over_processes_and_micro_batches(accumulate: int, world: int, images: int) -> None:
    assert micro_batch(Recipe(accumulate=accumulate), world) == images


@pytest.mark.parametrize(("accumulate", "world", "parts"), [(1, 3, 3), (2, 3, 6), (2, 32, 64)])
def test_a_batch_that_does_not_divide_is_refused(accumulate: int, world: int, parts: int) -> None:
    with pytest.raises(ValueError) as error:
        micro_batch(Recipe(accumulate=accumulate), world)
    assert str(error.value) == (
        f"recipe.batch_size must be a multiple of {parts} ({world} processes x {accumulate} micro-batches) with at "
        "least two images each, got 64"
    )
