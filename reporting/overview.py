"""A search in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reporting.runs import GOING, STOPPED, Run, moment
from reporting.style import duration, label, percent
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TRAINED, best_first
from searchers.run_folder import differences

BEYOND = ", beyond the limits as all are"
"""Said of the best trial where the search has none within its limits."""
_OUTCOMES = {
    COMPLETED: "trained to the end", PRUNED: "stopped early", RUNNING: "in training", FAILED: "failed",
    DUPLICATE: "duplicates", REFUSED: "refused",
}  # fmt: skip


def facts(run: Run) -> list[tuple[str, str]]:
    """Names and values, those that are known."""
    best = next(iter(best_first(run.records)), None)
    counts = Counter(record.outcome for record in run.records)
    trials = ", ".join(f"{counts[outcome]:,} {name}" for outcome, name in _OUTCOMES.items() if counts[outcome])
    known = {
        "best error": "none yet"
        if best is None
        else f"{percent(best.error)}, trial {best.number}, {best.epochs} epochs{'' if best.feasible else BEYOND}",
        "trials": trials or "none yet",
        "time": _time(run),
        "search": ", ".join(filter(None, _search(run))),
        "minimises": " and ".join(map(label, run.objectives)) if len(run.objectives) > 1 else "",
        "data": str(_mapping(run.description.get("dataset")).get("name", "")),
        "on": ", ".join(filter(None, _machine(run.environment))),
        "folder": str(run.path),
    }
    return [(name, value) for name, value in known.items() if value]


def remarks(runs: Sequence[Run]) -> list[str]:
    """What one must know before one reads on."""
    found = []
    for run in runs:
        if run.state == GOING:
            found.append(f"{run.name} is still running: this is what there is so far.")
        if run.state == STOPPED:
            found.append(f"{run.name} stopped before its end. Go on: python search.py ... run={run.path} resume=true")
        if run.problems:
            found.append(f"{run.name}: {len(run.problems):,} files or trials could not be read, see the end.")
    compared = [run for run in runs if run.description]
    for run in compared[1:]:
        if unlike := differences(*(_conditions(of) for of in (compared[0], run))):
            unlike = unlike.replace(" there", f" in {compared[0].name}").replace(" here", f" in {run.name}")
            found.append(f"Their errors may not be comparable: {unlike}.")
    return found


def _time(run: Run) -> str:
    moments = [at for record in run.records for what in ("started", "finished") if (at := moment(record, what))]
    if not moments:
        return ""
    first, wall = min(moments), (max(moments) - min(moments)).total_seconds()
    trained = sum(record.outcome in TRAINED for record in run.records)
    pace = f", {3600 * trained / wall:,.0f} trials an hour" if wall >= 1 and trained else ""
    return f"{first:%Y-%m-%d %H:%M} UTC, {duration(wall)}{pace}"


def _search(run: Run) -> list[str]:
    """Space, searcher and scheduler by their names, and the seed."""
    space = _mapping(run.description.get("search_space")).get("name", "")
    parts = [str(_mapping(run.settings.get(group)).get("_target_", "")).rpartition(".")[2]
             for group in ("searcher", "scheduler")]  # fmt: skip
    seed = run.description.get("seed")
    return [str(space), *parts, "" if seed is None else f"seed {seed}"]


def _machine(environment: Mapping[str, Any]) -> list[str]:
    model = str(_mapping(environment.get("cpu")).get("model", ""))
    gpus = environment.get("gpus")
    return [str(environment.get("cluster", "")), model, *(map(str, gpus) if isinstance(gpus, list) else ())]


def _conditions(run: Run) -> dict[str, Any]:
    """What the errors of a search depend on, whatever it searches."""
    data = _mapping(run.description.get("dataset"))
    return {"dataset": {name: data.get(name) for name in ("name", "resolution", "images")},
            "trial": run.description.get("trial")}  # fmt: skip


def _mapping(data: Any) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {}
