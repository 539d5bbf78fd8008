"""Schedulers, fed as Ray Tune feeds them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from searchers.ray_schedulers import Earlier, ParetoAsha, make, place
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.schedulers import Asha, Hyperband, Median, NoScheduler, Scheduler

EPOCHS = 9
TWO = ("error", "macs")
GO, STOP = "CONTINUE", "STOP"


def trial(number: int) -> Any:
    return Earlier(trial_id=f"trial-{number}", number=number)


def decide(scheduler: Any, number: int, errors: Mapping[int, float]) -> list[str]:
    """What is decided of a new trial after each epoch."""
    scheduler.on_trial_add(None, trial(number))
    return [
        scheduler.on_trial_result(None, trial(number), {"epoch": epoch, "validation_error": error})
        for epoch, error in errors.items()
    ]


def ended(*outcomes: str) -> list[TrialRecord]:
    """Trials with an error of 0.1, 0.2, ... after their first epoch, and of half of that after their third."""
    return [
        TrialRecord(
            number=i, outcome=outcome, values={}, errors={1: 0.1 * (i + 1), 2: 0.08 * (i + 1), 3: 0.05 * (i + 1)}
        )
        for i, outcome in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("scheduler", "epochs"),
    [(NoScheduler(), 9), (Asha(grace_epochs=3), 3), (Asha(grace_epochs=4), 3), (Hyperband(grace_epochs=3), 3)],
)
@pytest.mark.parametrize("objectives", [("error",), TWO])
def test_nothing_stops_where_there_is_no_rung(scheduler: Scheduler, epochs: int, objectives: Sequence[str]) -> None:
    if isinstance(scheduler, Hyperband) and objectives == TWO:
        return
    made = make(scheduler, epochs, ended(COMPLETED, COMPLETED), objectives=objectives, measures=lambda number: {})
    assert type(made).__name__ == "FIFOScheduler"


@pytest.mark.parametrize("scheduler", [Hyperband(), Hyperband(grace_epochs=9), Median()], ids=["hb", "long", "median"])
def test_what_compares_errors_alone_takes_no_second_objective(scheduler: Scheduler) -> None:
    with pytest.raises(ValueError) as error:
        make(scheduler, EPOCHS, objectives=TWO, measures=lambda number: {})
    assert str(error.value) == (
        f"scheduler={scheduler.name} compares errors alone; with objective=['error', 'macs'] take asha or none"
    )


@pytest.mark.parametrize("scheduler", [Asha(), Hyperband(brackets=2), Median(startup_trials=1)], ids=lambda s: s.name)
def test_a_result_without_an_error_decides_nothing(scheduler: Scheduler) -> None:
    """A traceback, or what was measured before the training."""
    made = make(scheduler, EPOCHS, ended(COMPLETED, COMPLETED))
    made.on_trial_add(None, trial(5))
    for result in ({"failure": "Traceback"}, {"latency": 2.5}):
        assert made.on_trial_result(None, trial(5), result) == GO
    made.on_trial_complete(None, trial(5), {"failure": "Traceback"})


class TestAsha:
    """Rungs at epochs 1 and 3, of which a third of the trials goes on."""

    def decision(self, history: list[TrialRecord], error: float, epoch: int = 1) -> str:
        return decide(make(Asha(), EPOCHS, history), 9, {epoch: error})[0]

    def test_the_first_trial_goes_on(self) -> None:
        assert self.decision([], 0.9) == GO

    def test_a_trial_is_measured_by_those_before_the_restart(self) -> None:
        history = ended(COMPLETED, PRUNED, PRUNED, COMPLETED)
        assert self.decision(history, 0.9) == STOP
        assert self.decision(history, 0.05) == GO
        assert self.decision(history, 0.16, epoch=3) == STOP
        assert self.decision(history, 0.01, epoch=3) == GO

    def test_between_rungs_nothing_is_decided(self) -> None:
        assert self.decision(ended(COMPLETED, COMPLETED), 0.9, epoch=3) == STOP
        assert decide(make(Asha(grace_epochs=3), EPOCHS, ended(COMPLETED)), 9, {1: 0.9, 2: 0.9}) == [GO, GO]

    @pytest.mark.parametrize(("factor", "grace"), [(2, 1), (3, 1), (2.5, 2), (4, 3)])
    def test_it_decides_as_rays_own(self, factor: float, grace: int) -> None:
        """Which compares a trial with all errors of the rung, sorted anew; equal ones, and trials that skip epochs."""
        from ray.tune.schedulers import ASHAScheduler

        names = {"time_attr": "epoch", "metric": "validation_error", "mode": "min"}
        rays: Any = ASHAScheduler(
            max_t=20, grace_period=grace, reduction_factor=factor, stop_last_trials=False, **names
        )  # type: ignore[arg-type]
        made, rng = make(Asha(grace_epochs=grace, reduction_factor=factor), 20), random.Random(0)
        decisions = set()
        for number in range(300):
            first = rng.choice((1, 1, 1, 5))
            digits = rng.choice((1, 6))
            errors = {epoch: round(rng.random() / epoch, digits) for epoch in range(first, 20)}
            found = decide(made, number, errors)
            assert found == decide(rays, number, errors)
            decisions.update(found)
        assert decisions == {GO, STOP}

    def test_no_number_decides_nothing(self) -> None:
        made = make(Asha(), EPOCHS, ended(COMPLETED, COMPLETED))
        assert decide(made, 7, {1: math.nan}) == [GO]
        assert decide(made, 8, {1: 0.16}) == [STOP]

    def test_what_failed_or_was_not_trained_is_no_measure(self) -> None:
        assert self.decision(ended(FAILED, REFUSED, DUPLICATE, RUNNING), 0.9) == GO


class TestHyperband:
    """First rungs at epochs 1 and 3, dealt out in turn by the number of a trial."""

    def made(self, history: Iterable[TrialRecord] = (), brackets: int = 2) -> Any:
        return make(Hyperband(brackets=brackets), EPOCHS, history)

    def test_each_bracket_has_its_own_first_rung(self) -> None:
        made = self.made()
        first = [decide(made, number, {1: 0.5, 2: 0.5, 3: 0.5}) for number in (0, 1)]
        assert first == [[GO] * 3] * 2
        assert decide(made, 2, {1: 0.9}) == [STOP]
        assert decide(made, 3, {1: 0.9, 2: 0.9, 3: 0.9}) == [GO, GO, STOP]
        assert decide(made, 4, {1: 0.1, 2: 0.9, 3: 0.9}) == [GO, GO, STOP]
        assert decide(made, 5, {1: 0.9, 2: 0.9, 3: 0.1}) == [GO, GO, GO]

    def test_a_trial_is_measured_by_its_own_bracket_before_the_restart(self) -> None:
        made = self.made(ended(COMPLETED, COMPLETED))
        assert decide(made, 2, {1: 0.15}) == [STOP]
        assert decide(made, 3, {1: 0.9, 2: 0.9, 3: 0.09}) == [GO] * 3
        assert decide(self.made(ended(FAILED, COMPLETED)), 2, {1: 0.15}) == [GO]

    def test_a_bracket_without_a_rung_is_left_out(self) -> None:
        made = self.made(brackets=5)
        decide(made, 0, {1: 0.1})
        assert decide(made, 2, {1: 0.9}) == [STOP]

    def test_the_brackets_do_not_depend_on_the_global_random_state(self) -> None:
        decisions = []
        for seed in (0, 1, 2):
            np.random.seed(seed)  # noqa: NPY002
            made, rng = self.made(), random.Random(0)
            decisions.append([decide(made, n, {e: rng.random() for e in (1, 2, 3)}) for n in range(12)])
        assert decisions[0] == decisions[1] == decisions[2]
        assert {STOP, GO} == {decision for of_trial in decisions[0] for decision in of_trial}


class TestMedian:
    """From the second epoch on, by at least two others."""

    def made(self, history: Iterable[TrialRecord] = ()) -> Any:
        return make(Median(grace_epochs=2, startup_trials=2), EPOCHS, history)

    def test_the_best_error_is_compared_with_the_median_of_running_averages(self) -> None:
        made = self.made()
        assert decide(made, 0, {1: 0.8, 2: 0.6, 3: 0.4}) == [GO] * 3
        assert decide(made, 1, {1: 0.6, 2: 0.4, 3: 0.2}) == [GO] * 3
        assert decide(made, 2, {1: 0.9, 2: 0.61}) == [GO, STOP]  # above the median of 0.7 and 0.5, averages so far
        assert decide(made, 3, {1: 0.9, 2: 0.59, 3: 0.59}) == [GO, GO, STOP]  # of 0.6 and 0.4, and of 0.59 too

    def test_it_stops_nothing_before_enough_others_came_so_far(self) -> None:
        made = self.made(ended(COMPLETED))
        assert decide(made, 7, {1: 0.9, 2: 0.9, 3: 0.9}) == [GO] * 3
        assert decide(self.made(ended(COMPLETED, FAILED, RUNNING)), 7, {1: 0.9, 2: 0.9}) == [GO, GO]

    def test_a_trial_is_measured_by_those_before_the_restart(self) -> None:
        assert decide(self.made(ended(COMPLETED, COMPLETED)), 7, {1: 0.9, 2: 0.9}) == [GO, STOP]
        assert decide(self.made(ended(COMPLETED, COMPLETED)), 7, {1: 0.9, 2: 0.1}) == [GO, GO]

    def test_what_it_would_have_stopped_may_have_been_trained_further(self) -> None:
        """Beside others, before these had come so far; or by another scheduler."""
        history = ended(*[COMPLETED] * 6)
        assert decide(self.made(history), 7, {1: 0.9, 2: 0.9}) == [GO, STOP]


class TestParetoAsha:
    """Rungs at epochs 1 and 3, of which a third of the trials goes on, by error and MACs."""

    def made(
        self, macs: Mapping[int, float], scheduler: Asha | None = None, history: Iterable[TrialRecord] = ()
    ) -> Any:
        """The errors that are known of the trials are those of other epochs."""
        known = {number: {"error": 0.0, "macs": value} for number, value in macs.items()}
        return make(scheduler or Asha(), EPOCHS, history, objectives=TWO, measures=lambda number: known.get(number, {}))

    def test_by_hand(self) -> None:
        made = self.made({0: 10, 1: 12, 2: 20, 3: 15, 4: 9, 5: 30})
        assert isinstance(made, ParetoAsha)
        assert decide(made, 0, {1: 0.5}) == [GO]  # alone
        assert decide(made, 1, {1: 0.6}) == [STOP]  # dominated: second of two
        assert decide(made, 2, {1: 0.4}) == [GO]  # at an end of the front
        assert decide(made, 3, {1: 0.45}) == [STOP]  # on the front, but between the others: third of four
        assert decide(made, 4, {1: 0.3}) == [GO]  # dominates all
        assert decide(made, 5, {1: 0.9}) == [STOP]  # dominated by all

    def test_every_rung_has_its_own_order(self) -> None:
        made = self.made({0: 10, 1: 10, 2: 10})
        assert decide(made, 0, {1: 0.5, 2: 0.5, 3: 0.2, 9: 0.1}) == [GO] * 4
        assert decide(made, 1, {1: 0.4, 2: 0.9, 3: 0.3}) == [GO, GO, STOP]
        assert decide(made, 2, {1: 0.3, 2: 0.9, 3: 0.1}) == [GO, GO, GO]

    def test_the_rungs_are_reached_by_the_first_epoch_that_is_not_before_them(self) -> None:
        """Of 2 times 1.7: 2, 3.4 and 5.78."""
        made = self.made({0: 10, 1: 10}, Asha(grace_epochs=2, reduction_factor=1.7))
        assert decide(made, 0, dict.fromkeys(range(1, 10), 0.1)) == [GO] * 9
        assert decide(made, 1, dict.fromkeys(range(1, 10), 0.9)) == [GO, STOP, GO, STOP, GO, STOP, GO, GO, GO]

    def test_an_epoch_that_is_reported_again_decides_nothing(self) -> None:
        made = self.made({0: 10, 1: 10})
        decide(made, 0, {1: 0.1})
        result = {"epoch": 1, "validation_error": 0.9}
        assert [made.on_trial_result(None, trial(1), result) for _ in range(2)] == [STOP, GO]

    def test_a_trial_that_lacks_an_objective_decides_nothing_and_is_no_measure(self) -> None:
        made = self.made({1: 10, 2: 11})
        assert decide(made, 0, {1: 0.1}) == [GO]
        assert decide(made, 1, {1: 0.9}) == [GO]
        assert decide(made, 2, {1: 0.9}) == [STOP]

    @pytest.mark.parametrize(("error", "macs"), [(math.nan, 1), (math.inf, 1), (0.1, math.nan), (0.1, math.inf)])
    def test_so_do_those_of_which_an_objective_is_no_number(self, error: float, macs: float) -> None:
        finite = {3: (0.5, 10), 4: (0.6, 11), 5: (0.7, 12), 6: (0.55, 10.5)}

        def decisions(failed: Sequence[int]) -> list[str]:
            made = self.made(dict.fromkeys(failed, macs) | {number: macs for number, (_, macs) in finite.items()})
            assert [decide(made, number, {1: error}) for number in failed] == [[GO]] * len(failed)
            return [decide(made, number, {1: error})[0] for number, (error, _) in finite.items()]

        assert decisions([0, 1, 2]) == decisions([]) == [GO, STOP, STOP, GO]

    def test_a_trial_is_measured_by_those_before_the_restart(self) -> None:
        made = self.made({0: 10, 1: 10, 2: 10, 5: 10, 6: 9}, history=ended(COMPLETED, FAILED, PRUNED))
        assert decide(made, 5, {1: 0.2}) == [STOP]
        assert decide(made, 6, {1: 0.2}) == [GO]


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([(1, 1)], 0),
        ([(1, 1), (2, 2)], 1),
        ([(2, 2), (1, 1)], 0),
        ([(0, 3), (3, 0), (1, 1)], 2),
        ([(0, 3), (3, 0), (1, 1), (-1, 4)], 0),
        ([(0, 3), (1, 1), (1, 1), (3, 0), (2, 2)], 4),
        ([(1, 1), (1, 1)], 0),
        ([(0, 9), (9, 0), (1, 5), (1.5, 4.8), (5, 1)], 2),
        ([(0, 9), (9, 0), (5, 1), (1.5, 4.8), (1, 5)], 4),
    ],
)
def test_the_place_of_the_last(vectors: list[tuple[float, float]], expected: int) -> None:
    """Those of a better rank come first, then those of its own rank that are lonelier."""
    assert place(vectors) == expected


BATCH = 4
CONFIGS: list[tuple[Scheduler, Sequence[str]]] = [
    (NoScheduler(), ("error",)),
    (Asha(), ("error",)),
    (Asha(grace_epochs=2, reduction_factor=1.7), ("error",)),
    (Hyperband(brackets=2), ("error",)),
    (Median(grace_epochs=2, startup_trials=3), ("error",)),
    (Asha(), TWO),
    (Asha(grace_epochs=2, reduction_factor=1.7), TWO),
]


@pytest.mark.parametrize(("config", "objectives"), CONFIGS, ids=lambda part: getattr(part, "name", None) or len(part))
def test_one_that_is_made_from_the_history_decides_as_the_one_that_saw_it(
    config: Scheduler, objectives: Sequence[str]
) -> None:
    """Trials in batches, epoch by epoch side by side; after each batch the search is resumed."""
    rng = random.Random(0)
    macs = [float(rng.randint(1, 9)) for _ in range(10 * BATCH)]
    settings: dict[str, Any] = {"objectives": objectives, "measures": lambda number: {"macs": macs[number]}}
    live, history, decisions = make(config, EPOCHS, **settings), list[TrialRecord](), []
    for start in range(0, len(macs), BATCH):
        resumed = make(config, EPOCHS, history, **settings)
        numbers = list(range(start, start + BATCH))
        errors: dict[int, dict[int, float]] = {number: {} for number in numbers}
        for number in numbers:
            live.on_trial_add(None, trial(number))
            resumed.on_trial_add(None, trial(number))
        running = set(numbers)
        for epoch in range(1, EPOCHS + 1):
            for number in sorted(running):
                result = {"epoch": epoch, "validation_error": rng.random() / epoch}
                errors[number][epoch] = result["validation_error"]
                decision = live.on_trial_result(None, trial(number), result)
                assert resumed.on_trial_result(None, trial(number), result) == decision
                if decision == STOP or epoch == EPOCHS:
                    running.discard(number)
                    live.on_trial_complete(None, trial(number), result)
                decisions.append(decision)
        for number, of_trial in errors.items():
            outcome = COMPLETED if EPOCHS in of_trial else PRUNED
            history.append(TrialRecord(number=number, outcome=outcome, values={}, errors=of_trial))
    assert set(decisions) == ({GO} if isinstance(config, NoScheduler) else {GO, STOP})
