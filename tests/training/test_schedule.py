from __future__ import annotations

import math

import pytest

from training.schedule import factor

STEPS = 1000


def factors(schedule: str, warmup: float, steps: int = STEPS) -> list[float]:
    return [factor(schedule, step, steps=steps, warmup=warmup) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7, STEPS])
def test_every_rate_is_above_zero_and_at_most_the_peak(schedule: str, warmup: float, steps: int) -> None:
    assert all(0 < f <= 1 for f in factors(schedule, warmup, steps))
    assert factor(schedule, steps, steps=steps, warmup=warmup) == 0


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_it_rises_to_the_peak_and_falls_to_zero(schedule: str) -> None:
    values = factors(schedule, warmup=0.2)
    peak = values.index(max(values))
    assert 198 <= peak <= 201
    assert max(values) > 0.99
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert values[0] < 0.01 > values[-1]


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_without_warmup_it_starts_at_the_peak(schedule: str) -> None:
    assert factors(schedule, warmup=0.0)[0] > 0.999


def test_the_two_differ_in_how_they_fall() -> None:
    # The descent starts at step 200: step 600 is half of it, step 400 a quarter.
    assert factor("one_cycle", 600, steps=STEPS, warmup=0.2) == pytest.approx(0.5, abs=1e-3)
    assert factor("one_cycle", 400, steps=STEPS, warmup=0.2) == pytest.approx(0.75, abs=1e-3)
    assert factor("cosine", 600, steps=STEPS, warmup=0.2) == pytest.approx(0.5, abs=1e-3)
    assert factor("cosine", 400, steps=STEPS, warmup=0.2) == pytest.approx(0.5 + math.sqrt(0.125), abs=1e-3)
