"""What a table refuses, and what is looked up in it."""

import numpy as np
import pytest
from table import Table

from tests.benchmarks.searchers.toy import ERRORS, NAN, space, toy


def test_true_errors_are_means_over_the_seeds_that_were_trained() -> None:
    table = toy()
    assert table.truth == pytest.approx([0.5, 0.3, 0.325, 0.45])
    assert table.mean_errors[:, 0] == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert table.mean_seconds.tolist() == [[1, 3], [2, 6], [3, 9], [4, 12]]


def test_a_vector_is_decoded_whatever_the_order_of_its_knobs() -> None:
    entry = space().decode({"b": 1, "a": 0})
    assert (entry.row, entry.fingerprint(), entry.to_dict()) == (1, "01", {"name": "01"})


def test_a_vector_that_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^table toy has no architecture with \{'a': 2, 'b': 0\}$"):
        space().decode({"a": 2, "b": 0})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 0}, "knob b has no value"),
        ({"a": 0, "b": 3}, "knob b must be an integer from 0 to 2, got 3"),
        ({"a": 0, "b": 0, "c": 0}, "unknown knob c; knobs are a, b"),
    ],
)
def test_a_vector_of_another_space_is_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space().decode(values)


def test_one_seed_is_drawn_of_those_that_an_architecture_was_trained_with() -> None:
    table = toy()
    drawn = [table.draw(np.random.default_rng(seed))[0][:, 1].tolist() for seed in range(200)]
    firsts, seconds = (sum(errors[1] == error for errors in drawn) for error in (0.4, 0.2))
    assert firsts + seconds == 200
    assert 70 < firsts < 130
    assert {errors[3] for errors in drawn} == {0.45}
    assert len({(errors[1], errors[2]) for errors in drawn}) == 4, "seeds of different architectures are independent"


def test_errors_and_seconds_are_of_the_same_training() -> None:
    table = toy()
    seconds = table.seconds.copy()
    seconds[:, 1] *= 10
    other = Table(space=table.space, epochs=table.epochs, errors=table.errors, seconds=seconds, costs={})
    for seed in range(20):
        errors, times = other.draw(np.random.default_rng(seed))
        assert (times[1, 1] == 60) == (errors[1, 1] == 0.2)


def test_objectives_are_true_values() -> None:
    assert toy().objectives(["macs", "error"])[1].tolist() == pytest.approx([20, 0.3])
    with pytest.raises(ValueError, match=r"^table toy knows error, macs; it has no latency$"):
        toy().objectives(["error", "latency"])


def changed(row: int, seed: int, epoch: int, value: float) -> np.ndarray:  # type: ignore[type-arg]
    errors = np.array(ERRORS)
    errors[row, seed, epoch] = value
    return errors


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (np.array(ERRORS)[:3], r"errors must have the shape \(4, 2, 2\), got \(3, 2, 2\)"),
        (changed(0, 0, 1, NAN), "a training must have an error at every epoch"),
        (changed(3, 0, slice(None), NAN), "no training of architecture 3"),  # type: ignore[arg-type]
    ],
)
def test_errors_with_gaps_are_refused(errors: np.ndarray, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=f"^table toy: {message}$"):
        Table(space=space(), epochs=(1, 3), errors=errors, seconds=toy().seconds, costs={})


def test_a_cost_for_other_architectures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^table toy: macs must have the shape \(4,\), got \(3,\)$"):
        Table(space=space(), epochs=(1, 3), errors=toy().errors, seconds=toy().seconds, costs={"macs": np.ones(3)})


def test_seconds_of_single_epochs_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^table toy: seconds count from the start, so they must grow at every epoch$"
    ):
        Table(space=space(), epochs=(1, 3), errors=toy().errors, seconds=np.ones((4, 2, 2)), costs={})
