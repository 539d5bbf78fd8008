"""The schedulers of Ray Tune that a configuration stands for, in step with the trials of earlier processes."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchers import ray_cluster  # noqa: F401  # sets what Ray reads when it is imported

# isort: split
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule, TrialScheduler

from searchers.objectives import ERROR, crowding, ranks
from searchers.record import COMPLETED, PRUNED, TrialRecord
from searchers.schedulers import Asha, Hyperband, Median, Scheduler, check_objectives, rungs

if TYPE_CHECKING:
    from searchers.session import Session

_EPOCH, _ERROR = "epoch", "validation_error"
Measures = Callable[[int], dict[str, float]]
"""What is known of a trial, by number: see `TrialRecord.measures`."""


def make(
    config: Scheduler,
    epochs: int,
    history: Iterable[TrialRecord] = (),
    *,
    objectives: Sequence[str] = (ERROR,),
    measures: Measures | None = None,
) -> TrialScheduler:
    """A scheduler that has seen the ended trials, so that a resumed search stops alike.

    Args:
        config: when to stop.
        epochs: of a trial that nothing stops.
        history: what came before.
        objectives: what is minimised.
        measures: of a running trial; needed for several objectives.

    Raises:
        ValueError: a scheduler that compares errors alone, for several objectives.
    """
    scheduler = _fresh(config, epochs, objectives, measures)
    for record in history:
        if record.outcome in (COMPLETED, PRUNED):
            earlier: Any = Earlier(trial_id=f"earlier-{record.number}", number=record.number)
            scheduler.on_trial_add(None, earlier)  # type: ignore[arg-type]
            for epoch, error in record.errors.items():
                scheduler.on_trial_result(None, earlier, {_EPOCH: epoch, _ERROR: error})  # type: ignore[arg-type]
    return scheduler


def of_session(config: Scheduler, session: Session) -> TrialScheduler:
    """The same for a session: it has seen what had ended before, and asks the session what is known of a trial."""
    return make(
        config,
        session.problem.epochs,
        session.history,
        objectives=session.problem.objectives,
        measures=lambda number: session.history[number].measures(),
    )


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A trial, as far as schedulers look at it."""

    trial_id: str
    """Unique."""
    number: int
    """In the search."""

    @property
    def config(self) -> dict[str, Any]:
        """As that of a trial of Tune."""
        return {"number": self.number}


def _fresh(config: Scheduler, epochs: int, objectives: Sequence[str], measures: Measures | None) -> TrialScheduler:
    check_objectives(config, objectives)
    if isinstance(config, Median):
        return _Median(config)
    if not isinstance(config, (Asha, Hyperband)) or config.grace_epochs >= epochs:
        return FIFOScheduler()
    if isinstance(config, Asha) and len(objectives) > 1:
        assert measures is not None
        return ParetoAsha(config, epochs, objectives, measures)
    if isinstance(config, Asha):
        return OrderedAsha(config, epochs)
    factor = config.reduction_factor
    first = [math.ceil(config.grace_epochs * factor**i) for i in range(config.brackets)]
    brackets = [Asha(grace_epochs=grace, reduction_factor=factor) for grace in first if grace < epochs]
    return _InTurn([OrderedAsha(bracket, epochs) for bracket in brackets])


class _InTurn(FIFOScheduler):
    """Deals trials out to schedulers by their numbers: Ray's own brackets draw from the global random state."""

    def __init__(self, schedulers: Sequence[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._schedulers = schedulers

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        scheduler = self._schedulers[trial.config["number"] % len(self._schedulers)]
        decision: str = scheduler.on_trial_result(tune_controller, trial, result)
        return decision


class _Median(MedianStoppingRule):
    """Without pauses, which need Ray's own checkpoints, and deaf to results without an epoch."""

    def __init__(self, config: Median) -> None:
        super().__init__(
            time_attr=_EPOCH,
            metric=_ERROR,
            mode="min",
            grace_period=config.grace_epochs,
            min_samples_required=config.startup_trials,
        )

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        looked_at = {name: result[name] for name in (_EPOCH, _ERROR) if name in result}  # all of which is kept
        decision: str = super().on_trial_result(tune_controller, trial, looked_at)
        self._stopped_trials.discard(trial)  # a trial of an earlier process went as far as it did
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Its last epoch is known already."""

    def _on_insufficient_samples(self, tune_controller: Any, trial: Any, time: float) -> str:
        return str(TrialScheduler.CONTINUE)


class OrderedAsha(FIFOScheduler):
    """ASHA for one objective (Li et al., MLSys 2020), with the decisions of Ray's own.

    Of each rung it keeps the errors in order: Ray's sorts them all for every trial that reaches the rung.
    """

    def __init__(self, config: Asha, epochs: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._share = 1 - 1 / config.reduction_factor
        self._rungs: dict[int, list[float]] = {rung: [] for rung in rungs(config, epochs)}
        self._reached: dict[int, set[str]] = {rung: set() for rung in self._rungs}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        rung = max((rung for rung in self._rungs if rung <= result.get(_EPOCH, 0)), default=None)
        if rung is None or trial.trial_id in self._reached[rung] or math.isnan(result[_ERROR]):
            return str(TrialScheduler.CONTINUE)
        rewards, reward = self._rungs[rung], -result[_ERROR]
        stops = bool(rewards) and reward < _quantile(rewards, self._share)
        bisect.insort(rewards, reward)
        self._reached[rung].add(trial.trial_id)
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)


def _quantile(ordered_values: Sequence[float], share: float) -> float:
    """What NumPy calls the linear one, to the digit."""
    position = share * (len(ordered_values) - 1)
    below = int(position)
    left, right = ordered_values[below], ordered_values[min(below + 1, len(ordered_values) - 1)]
    between = position - below
    return right - (right - left) * (1 - between) if between >= 0.5 else left + (right - left) * between


class ParetoAsha(FIFOScheduler):
    """ASHA for several objectives (Schmucker et al., arXiv 2106.12639).

    The order of the trials at a rung is that of non-dominated sorting, and within a rank the lonelier one first.
    """

    def __init__(self, config: Asha, epochs: int, objectives: Sequence[str], measures: Measures) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._factor, self._objectives, self._measures = config.reduction_factor, objectives, measures
        self._rungs: dict[int, dict[str, list[float]]] = {rung: {} for rung in rungs(config, epochs)}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        reached = self._rungs.get(result.get(_EPOCH, 0))
        if reached is None or trial.trial_id in reached:
            return str(TrialScheduler.CONTINUE)
        measures = {**self._measures(trial.config["number"]), ERROR: result[_ERROR]}
        values = [measures.get(name, math.nan) for name in self._objectives]
        if not all(map(math.isfinite, values)):  # it has failed, which the session says at its end
            return str(TrialScheduler.CONTINUE)
        reached[trial.trial_id] = values
        goes_on = place(list(reached.values())) <= (len(reached) - 1) / self._factor
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its schedulers, and what this one asks for measures is the session."""
        return {}


def place(vectors: Sequence[Sequence[float]]) -> int:
    """Place of the last vector, from 0: by rank of non-dominated sorting, then by crowding distance."""
    ranked = ranks(vectors)
    better = sum(rank < ranked[-1] for rank in ranked)
    peers = [vector for vector, rank in zip(vectors, ranked, strict=True) if rank == ranked[-1]]
    distances = crowding(peers)
    return better + sum(distance > distances[-1] for distance in distances)
