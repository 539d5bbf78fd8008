"""Rank transfer: how well the ranking of a cheap training, the proxy, holds after an expensive one.

Between a search and the stages of promotion, by fidelity of the search, and between the rungs of a search alone.
`transfer_report` shows the results.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promotion.agreement import RESAMPLES, Agreement, Errors, agreement, table_by_seed
from promotion.rank_correlation import Array
from promotion.seed_noise import mean_over_seeds
from searchers.record import DUPLICATE, FAILED, TrialRecord

PROXY = "proxy"
"""Name of the search's own training, in front of the stages of full training."""


@dataclass(frozen=True, kw_only=True)
class FidelityAgreement:
    """Agreement of the proxy errors after one epoch with full training."""

    epoch: int
    """Epochs of proxy training."""
    agreement: Agreement
    """Over the architectures that the proxy trained that far: fewer after later epochs where it stops some early."""


@dataclass(frozen=True, kw_only=True)
class StageAgreement:
    """Agreement between two stages. Only the best of a stage are handed on, so it is one among those: see `n`."""

    earlier: str
    """proxy, or the name of a stage of full training."""
    later: str
    """Name of a later stage."""
    agreement: Agreement
    """With the earlier stage's errors, means over its seeds, as the proxy's."""


@dataclass(frozen=True, kw_only=True)
class RungAgreement:
    """Agreement within a search, of an early epoch with a later one.

    A scheduler such as ASHA lets only those go on that were good early (restriction of range): what is left to tell
    apart differs less than all the trials did, and agreement is as a rule lower than it would be among them all.
    """

    epoch: int
    """The earlier epoch."""
    later: int
    """The later epoch."""
    of: int
    """Trials that have the earlier epoch; where more than `agreement.n`, those compared were selected."""
    agreement: Agreement
    """Over the trials that have both epochs, each trained once: there is no ceiling."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What promotion showed of a proxy."""

    names: tuple[str, ...]
    """The architectures."""
    epochs: tuple[int, ...]
    """Epochs of proxy training that each got; 0 where it comes from no search."""
    errors: Mapping[str, Array]
    """By stage, the proxy first: errors as (architectures, seeds), NaN where there is none."""
    stages: tuple[StageAgreement, ...]
    """Every stage against every later one."""
    fidelities: Mapping[str, tuple[FidelityAgreement, ...]]
    """By stage of full training, the proxy after each of its epochs against it."""


def by_fidelity(
    proxy_errors: Sequence[Mapping[int, float]],
    full_by_seed: Sequence[Errors] | Array,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[FidelityAgreement]:
    """The agreement after each epoch that any architecture has a proxy error for.

    Args:
        proxy_errors: per architecture, its proxy error by epoch.
        full_by_seed: as in `agreement`.
        resamples: as in `agreement`.
        seed: as in `agreement`.

    Raises:
        ValueError: as in `agreement`.
    """
    return [
        FidelityAgreement(
            epoch=epoch,
            agreement=agreement(
                [errors.get(epoch) for errors in proxy_errors], full_by_seed, resamples=resamples, seed=seed
            ),
        )
        for epoch in sorted({epoch for errors in proxy_errors for epoch in errors})
    ]


def between_stages(
    errors: Mapping[str, Sequence[Errors] | Array], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[StageAgreement]:
    """The agreement of every stage with every later one.

    Args:
        errors: stages in their order, the proxy first; per architecture the errors by seed.
        resamples: as in `agreement`.
        seed: as in `agreement`.

    Raises:
        ValueError: as in `agreement`.
    """
    rows = {stage: table_by_seed(of_stage) for stage, of_stage in errors.items()}
    return [
        StageAgreement(
            earlier=earlier,
            later=later,
            agreement=agreement(mean_over_seeds(rows[earlier]), rows[later], resamples=resamples, seed=seed),
        )
        for earlier, later in itertools.combinations(rows, 2)
    ]


def transfer(
    names: Sequence[str],
    *,
    proxy: Errors,
    proxy_errors: Sequence[Mapping[int, float]],
    stages: Mapping[str, Sequence[Errors]],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Transfer:
    """Everything that promotion shows of a proxy; may be asked at any time, of what there is by then.

    Args:
        names: the architectures.
        proxy: the search's last error of each; None where it comes from no search. As the search does, those that it
            trained further are ranked before those that it stopped earlier, and only then by error.
        proxy_errors: per architecture, its proxy error by epoch.
        stages: by stage in their order, per architecture an error for each seed; NaN where it failed, has not been
            trained yet, or has not reached the stage.
        resamples: as in `agreement`.
        seed: as in `agreement`.

    Raises:
        ValueError: not one entry an architecture, a stage named proxy, or as in `agreement`.
    """
    for what, entries in {PROXY: proxy, "proxy_errors": proxy_errors, **stages}.items():
        if len(entries) != len(names):
            raise ValueError(
                f"{what} must have one entry for each of the {len(names)} architectures, got {len(entries)}"
            )
    if PROXY in stages:
        raise ValueError(f"{PROXY} is the search's own training and cannot be a stage of full training; rename it")
    full = {stage: table_by_seed(rows) for stage, rows in stages.items()}
    settings = {"resamples": resamples, "seed": seed}
    return Transfer(
        names=tuple(names),
        epochs=tuple(max(by_epoch, default=0) for by_epoch in proxy_errors),
        errors={PROXY: table_by_seed([[error] for error in proxy]), **full},
        stages=tuple(between_stages({PROXY: _as_the_search_ranks(proxy, proxy_errors), **full}, **settings)),
        fidelities={stage: tuple(by_fidelity(proxy_errors, of_stage, **settings)) for stage, of_stage in full.items()},
    )


def between_rungs(
    records: Sequence[TrialRecord],
    *,
    later: int | None = None,
    epochs: Sequence[int] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[RungAgreement]:
    """The agreement of earlier epochs with a later one, within a finished or running search.

    Failed trials, and duplicates, which repeat another's errors, are left out. See `RungAgreement` for what selection
    does to it.

    Args:
        records: the trials.
        later: the later epoch; None for the last that any trial reached.
        epochs: which of the earlier epochs; None for every one.
        resamples: as in `agreement`.
        seed: as in `agreement`.

    Raises:
        ValueError: a number of resamples below 1.
    """
    trained = _trained(records)
    later = max((r.epochs for r in trained), default=0) if later is None else later
    earlier = sorted({epoch for r in trained for epoch in r.errors if epoch < later})
    found = []
    for epoch in earlier if epochs is None else [e for e in earlier if e in epochs]:
        there = [r for r in trained if epoch in r.errors]
        finals = [[r.errors.get(later)] for r in there]
        compared = agreement([r.errors[epoch] for r in there], finals, resamples=resamples, seed=seed)
        found.append(RungAgreement(epoch=epoch, later=later, of=len(there), agreement=compared))
    return found


def reached(records: Sequence[TrialRecord]) -> dict[int, int]:
    """The epochs that `between_rungs` compares, in order, each with how many trials have an error there."""
    counts = Counter(epoch for record in _trained(records) for epoch in record.errors)
    return dict(sorted(counts.items()))


def _trained(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [r for r in records if r.outcome not in (FAILED, DUPLICATE) and r.errors]


def _as_the_search_ranks(proxy: Errors, proxy_errors: Sequence[Mapping[int, float]]) -> list[list[float | None]]:
    """In place of errors: positions in the order of `best_first`, which does not compare errors of unequal epochs."""
    keys = [
        None if error is None or not math.isfinite(error) else (-max(by_epoch, default=0), error)
        for error, by_epoch in zip(proxy, proxy_errors, strict=True)
    ]
    order = sorted({key for key in keys if key is not None})
    return [[None if key is None else order.index(key)] for key in keys]


def spread(epochs: Sequence[int], most: int) -> list[int]:
    """At most so many of the epochs, which are in order: the first, the last, and others at about equal ratios."""
    if len(epochs) <= most:
        return list(epochs)
    ratio = epochs[-1] / epochs[0]
    wanted = [epochs[0] * ratio ** (i / (most - 1)) for i in range(most)]
    return sorted({min(epochs, key=lambda epoch: abs(epoch - target)) for target in wanted})
