"""Where the members of a population stand: a member rests until all have come as far, and then they are compared.

So what becomes of a member does not depend on how many train at a time, and a killed search is gone on with exactly.
"""

from __future__ import annotations

from collections.abc import Iterable

from searchers.history import History
from searchers.population import PopulationBasedTraining, vacant, worst_at
from searchers.record import RUNNING, TrialRecord


class Generations:
    """The members that are open and are not being trained.

    Args:
        config: of the population.
        epochs: of a trial that is trained to its end.
        history: the trials of earlier processes.
    """

    def __init__(self, config: PopulationBasedTraining, epochs: int, history: History) -> None:
        self._config, self._epochs = config, epochs
        self._begun: dict[int, int] = {}
        self.ready: list[int] = []
        self.vacant = vacant(history)
        self.resting = {r.number: r.epochs for r in history if r.outcome == RUNNING and self.rests(r)}

    @property
    def open(self) -> int:
        """Places of the population that are not being trained for, and will be."""
        return len(self.resting) + len(self.ready) + len(self.vacant)

    def begin(self, record: TrialRecord) -> None:
        """A member is being trained, from where it stands."""
        self._begun[record.number] = record.epochs

    def ends(self, number: int, epoch: int) -> bool:
        """Whether a member in training is to rest after this epoch."""
        return self._is_rung(epoch) and epoch > self._begun[number]

    def rests(self, record: TrialRecord) -> bool:
        """Whether a member stands where it is compared."""
        return record.recipe is not None and bool(record.errors) and self._is_rung(record.epochs)

    def complete(self, history: History, running: Iterable[int]) -> bool:
        """Whether, once all have begun, no member in training has still to come to where the first ones rest."""
        epoch = min(self.resting.values(), default=0)
        members = (history[number] for number in running)
        return bool(self.resting) and all(r.epochs > epoch or r.begun == epoch for r in members)

    def compare(self, history: History) -> list[int]:
        """Of those that rest after the earliest epoch, the worst are returned, and the others made ready to go on."""
        epoch = min(self.resting.values())
        here = sorted(number for number, at in self.resting.items() if at == epoch)
        worst = {record.number for record in worst_at(history, epoch, self._config.quantile)}
        for number in here:
            del self.resting[number]
        self.ready += [number for number in here if number not in worst]
        return [number for number in here if number in worst]

    def _is_rung(self, epoch: int) -> bool:
        return epoch % self._config.interval == 0 and epoch < self._epochs
