"""How much of their training the trials of a search have still to go, from how long those so far went on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def survival(ended: Mapping[int, int], running: Sequence[int], epochs: int) -> list[float]:
    """Share of trials that go on after 0, 1, ... epochs: the estimate of Kaplan and Meier (JASA 1958).

    Running trials count too, as far as they got, and one that nothing stops is added: those that are stopped early are
    the first to end, and would stand for all.

    Args:
        ended: how many trials ended after so many epochs.
        running: epochs that each running trial has done.
        epochs: of a trial that nothing stops.
    """
    share, shares = 1.0, []
    longer = sum(ended.values())
    for epoch in range(epochs):
        here = ended.get(epoch, 0)
        # What reported this epoch and is still running has gone on; nobody knows that of one without any epoch yet.
        if here:
            share *= 1 - here / (longer + sum(done >= max(epoch, 1) for done in running) + 1)
        longer -= here
        shares.append(share)
    return shares


def work_left(shares: Sequence[float], costs: Sequence[float], done: int | None) -> float:
    """Work to be expected of a trial that has done so many epochs and goes on, or, with None, that is yet to begin.

    Args:
        shares: what `survival` returned.
        costs: of each epoch, in whatever unit the work is counted.
        done: epochs of a trial among those `running`.
    """
    if done is not None and done >= len(shares):
        return 0.0
    going_on = 1.0 if done is None else shares[done]
    rest = slice(done, None)
    return sum(share * cost for share, cost in zip(shares[rest], costs[rest], strict=True)) / going_on
