"""Rank transfer for a person: a table and lines for the terminal; `transfer_plot` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promotion.agreement import Agreement
from promotion.rank_correlation import Correlation
from promotion.transfer import PROXY, RungAgreement, Transfer, between_rungs, reached, spread
from searchers.record import TrialRecord
from seqconv.files import write_atomically

if TYPE_CHECKING:
    from pandas import DataFrame

_TYPES = {
    "earlier": "str", "later": "str", "epoch": "Int64", "n": "Int64", "left_out": "Int64", "seeds": "Int64",
    "failed": "Int64", "tau": "float64", "tau_low": "float64", "tau_high": "float64", "rho": "float64",
    "rho_low": "float64", "rho_high": "float64", "chance": "float64", "top1": "float64", "top3": "float64",
    "top5": "float64", "regret": "float64", "seeds_tau": "float64", "seeds_tau_low": "float64",
    "seeds_tau_high": "float64", "seeds_rho": "float64", "seeds_rho_low": "float64", "seeds_rho_high": "float64",
    "tau_reachable": "float64", "rho_reachable": "float64", "resamples": "Int64", "reason": "str",
}  # fmt: skip
"""Columns of the table. `seeds_tau` is tau between single seeds; the others are fields of `Agreement` and `Ceiling`."""
_OF_AGREEMENT = ("n", "left_out", "seeds", "failed", "chance", "regret", "resamples", "reason")
_FEW = 10
"""Architectures, or trials, that are called few."""
_MOST_EPOCHS = 6


def to_frame(transfer: Transfer) -> DataFrame:
    """One row a comparison: stage against stage, then the proxy after each of its epochs against a stage."""
    import pandas as pd

    rows = [_row(s.earlier, s.later, None, s.agreement) for s in transfer.stages]
    for stage, found in transfer.fidelities.items():
        rows += [_row(PROXY, stage, f.epoch, f.agreement) for f in found]
    return pd.DataFrame({c: pd.Series([row.get(c) for row in rows], dtype=kind) for c, kind in _TYPES.items()})


def write_csv(transfer: Transfer, path: Path) -> None:
    """The table as a file, replaced whole."""
    write_atomically(path, to_frame(transfer).to_csv(index=False))


def lines(transfer: Transfer) -> list[str]:
    """How well each ranking held, a few lines for each pair of stages; in brackets 95 % intervals."""
    found = [line for s in transfer.stages for line in _comparison(f"{s.earlier} -> {s.later}", s.agreement)]
    for stage, fidelities in transfer.fidelities.items():
        taus = {f.epoch: f.agreement.tau for f in fidelities if f.agreement.tau.value is not None}
        if len(taus) > 1:
            shown = ", ".join(f"{epoch}: {_shown(taus[epoch])}" for epoch in spread(list(taus), _MOST_EPOCHS))
            found.append(f"tau of the proxy with {stage}, by epoch of the proxy: {shown}")
    return found


def rung_lines(records: Sequence[TrialRecord]) -> list[str]:
    """How well the early epochs of a search ranked what was trained on; nothing where five cannot be compared.

    Against the last epoch, and where fewer than ten trials got there also against the last that ten have reached.
    """
    counts = reached(records)
    last = max(counts, default=0)
    common = max((epoch for epoch, count in counts.items() if count >= _FEW), default=last)
    found = []
    for later in dict.fromkeys((common, last)):
        earlier = spread([epoch for epoch in counts if epoch < later], _MOST_EPOCHS)
        found += _rungs(
            [r for r in between_rungs(records, later=later, epochs=earlier) if r.agreement.tau.low is not None]
        )
    return found


def _rungs(rungs: Sequence[RungAgreement]) -> list[str]:
    if not rungs:
        return []
    found = [f"how well the error after an early epoch ranks what was trained for {rungs[0].later}, 95 % intervals:"]
    for rung in rungs:
        n = rung.agreement.n
        which = f"{n} trials" if rung.of == n else f"{n} of {rung.of} trials"
        tau, rho = _shown(rung.agreement.tau), _shown(rung.agreement.rho)
        found.append(f"  epoch {rung.epoch}: Kendall's tau {tau}, Spearman's rho {rho}, over {which}")
    if any(rung.of > rung.agreement.n for rung in rungs):
        found.append("  the others did not get there, most for their early errors: among all, agreement may be higher")
    return found


def _comparison(title: str, found: Agreement) -> list[str]:
    missing = f", {found.left_out} without both errors left out" if found.left_out else ""
    missing += f", {found.failed} trainings without an error" if found.failed else ""
    seeds = "one seed" if found.seeds == 1 else f"{found.seeds} seeds"
    if found.tau.value is None:
        return [f"{title}: {found.reason}{missing}"]
    rough = f"; {found.n} architectures are few: read this rather than the correlations" if found.n < _FEW else ""
    top = ", ".join(f"{share:.0%} of the best {k}" for k, share in found.top.items())
    return [
        f"{title}: Kendall's tau {_shown(found.tau)}, Spearman's rho {_shown(found.rho)}, "
        f"over {found.n} architectures, {seeds}{missing}",
        f"  by chance as high in {found.chance:.1%} of cases{rough}",
        f"  kept {top}; the best by {title.split(' ')[0]} is {found.regret:.4f} above the lowest error",
        f"  {_limit(found)}",
    ]


def _limit(found: Agreement) -> str:
    """Whether the proxy or the noise between seeds keeps the agreement down."""
    noise = found.ceiling
    if noise.tau.value is None or noise.tau_reachable is None:
        return noise.reason or ""
    between = f"between seeds tau is {_shown(noise.tau)}, so that a perfect proxy would reach {noise.tau_reachable:.2f}"
    if found.tau.high is None:
        return between
    limits = (
        "the proxy limits" if found.tau.high < noise.tau_reachable else "what is missing may be noise between seeds"
    )
    return f"{between}: {limits}"


def _shown(found: Correlation) -> str:
    interval = "" if found.low is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{found.value:.2f}{interval}"


def _row(earlier: str, later: str, epoch: int | None, found: Agreement) -> dict[str, Any]:
    noise = found.ceiling
    row: dict[str, Any] = {"earlier": earlier, "later": later, "epoch": epoch}
    row |= {name: getattr(found, name) for name in _OF_AGREEMENT}
    for name, of in {"tau": found.tau, "rho": found.rho, "seeds_tau": noise.tau, "seeds_rho": noise.rho}.items():
        row |= {name: of.value, f"{name}_low": of.low, f"{name}_high": of.high}
    row |= {"tau_reachable": noise.tau_reachable, "rho_reachable": noise.rho_reachable}
    return row | {f"top{k}": share for k, share in found.top.items()}
