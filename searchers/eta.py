"""How many epochs the trials of a search still take, from how long those so far went on."""

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


def epochs_left(shares: Sequence[float], done: int | None) -> float:
    """Epochs to be expected of a trial that has done so many and goes on, or, with None, that is yet to begin.

    Args:
        shares: what `survival` returned.
        done: epochs of a trial among those `running`.
    """
    if done is None:
        return sum(shares)
    if done >= len(shares):
        return 0.0
    return sum(shares[done:]) / shares[done]
