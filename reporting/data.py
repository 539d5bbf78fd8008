"""Tables behind the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reporting.runs import Run, Trial
from searchers import results

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(rows: Sequence[Mapping[str, Any]]) -> DataFrame | None:
    """A row each, with the columns of all of them; None where there are none."""
    import pandas as pd

    made = pd.DataFrame(list(rows))
    for name in made.columns:
        kinds = {type(value) for value in made[name].dropna()} if made[name].dtype == object else set()
        if len(kinds) > 1:  # such as the windows 4 and dense, which a Parquet column cannot hold together
            made[name] = [None if pd.isna(value) else str(value) for value in made[name]]
    return made if rows else None


def of_trials(chosen: Sequence[tuple[Run, Trial]]) -> DataFrame | None:
    """All that is known of trials, as in a run's own table, after the name of their run."""
    if not chosen:
        return None
    made = results.to_frame([_readable(trial) for _, trial in chosen])
    made.insert(0, "run", [run.name for run, _ in chosen])
    return made


def _readable(trial: Trial) -> Any:
    """Its record, without an architecture that cannot be read."""
    if trial.architecture is not None:
        return trial.record
    return replace(trial.record, facts={k: v for k, v in trial.record.facts.items() if k != "architecture"})
