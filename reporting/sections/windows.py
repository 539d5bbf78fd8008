"""Windows against the error: error distributions of kinds of windows, stage by stage, at matched budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reporting.data import frame
from reporting.edf import Distribution, bins_of, distributions
from reporting.matched import errors_at, matched_epoch
from reporting.runs import Run, Trial
from reporting.section import Figure, Panel, Section
from reporting.style import colour, dash, faint, figure
from seqconv.aggregation import Pattern, Window

FEWEST = 5
"""Trials below which a group is left out."""
_TEXT = (
    "The share of the trials that is at or below an error: the further up and left a curve, the better. All have the "
    "same number of epochs, and where there are enough, weights give the groups the same shares of small and of large "
    "networks, by multiply-adds. Bands are 95 % bootstrap intervals at each point. A window of g' = G costs what a "
    "regular convolution does."
)
_KINDS = ("g' up to G/2", "g' up to G", "g' above G", "dense")
Compared = Sequence[tuple[Trial, float]]


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """One figure."""

    name: str
    title: str
    run: Run | None
    """None where the groups are runs."""
    epoch: int
    groups: Mapping[str, Compared]


def section(runs: Sequence[Run]) -> Section:
    """The runs against each other where there are several, then the windows of each stage of each run."""
    panels, rows = [], []
    for comparison in (*_between(runs), *_by_stage(runs)):
        found = _distributions(comparison.groups)
        panels.append(
            Panel(
                name=comparison.name,
                title=comparison.title,
                run=None if comparison.run is None else comparison.run.index,
                figure=_figure(found, {run.name: run.index for run in runs} if comparison.run is None else {}),
            )
        )
        rows += _rows(comparison, found)
    empty = f"it takes two kinds of windows with {FEWEST} trials each that have a result"
    return Section(name="windows", title="Windows against error", text=_TEXT, empty="" if panels else empty,
                   panels=panels, data=frame(rows))  # fmt: skip


def kind(pattern: Pattern, in_groups: int) -> str:
    """Of windows by what they cost beside a regular convolution, for which g' = G; of other patterns their name."""
    if not isinstance(pattern, Window):
        return pattern.name
    width = pattern.resolve(in_groups)
    if width is None:
        return _KINDS[3]
    return _KINDS[0 if 2 * width <= in_groups else 1 if width <= in_groups else 2]


def _between(runs: Sequence[Run]) -> Iterator[_Comparison]:
    """All trials of each run, after an epoch that is matched in all of them."""
    epochs = [epoch for run in runs if (epoch := matched_epoch(run.trained)) is not None]
    groups = {run.name: errors_at(run.trained, min(epochs)) for run in runs} if epochs else {}
    groups = {name: of for name, of in groups.items() if len(of) >= FEWEST}
    if len(groups) > 1:
        title = f"all trials after {_epochs(min(epochs))}"
        yield _Comparison(name="windows-runs", title=title, run=None, epoch=min(epochs), groups=groups)


def _by_stage(runs: Sequence[Run]) -> Iterator[_Comparison]:
    matched = {run.index: matched_epoch(run.trained) for run in runs}
    stages = max((len(t.architecture.stages) for run in runs for t in run.trained if t.architecture), default=0)
    for stage in range(1, stages + 1):
        for run in runs:
            epoch = matched[run.index]
            groups = {} if epoch is None else _by_window(errors_at(run.trained, epoch), stage)
            if epoch is None or len(groups) < 2:
                continue
            title = f"stage {stage}, after {_epochs(epoch)}"
            yield _Comparison(
                name=f"windows-{stage}" + (f"-{run.index}" if len(runs) > 1 else ""),
                title=f"{run.name}: {title}" if len(runs) > 1 else title,
                run=run,
                epoch=epoch,
                groups=groups,
            )


def _by_window(compared: Compared, stage: int) -> dict[str, Compared]:
    groups: dict[str, list[tuple[Trial, float]]] = {}
    for trial, error in compared:
        architecture = trial.architecture
        if architecture is not None and stage <= len(architecture.stages):
            name = kind(architecture.stages[stage - 1].window, architecture.groups[stage - 1])
            groups.setdefault(name, []).append((trial, error))
    names = [name for name in _KINDS if name in groups] + sorted(set(groups) - set(_KINDS))
    return {name: groups[name] for name in names if len(groups[name]) >= FEWEST}


def _distributions(groups: Mapping[str, Compared]) -> dict[str, Distribution]:
    costs = {name: [float(trial.record.facts.get("macs") or 0) for trial, _ in of] for name, of in groups.items()}
    return distributions({name: [error for _, error in of] for name, of in groups.items()}, bins_of(costs))


def _figure(found: Mapping[str, Distribution], runs: Mapping[str, int]) -> Figure:
    """Bands first, so that no curve is under one."""
    made = figure(
        xaxis={"title": {"text": "validation error in %"}},
        yaxis={"title": {"text": "share of trials in %"}, "range": [0, 102]},
    )
    places = {name: runs.get(name, place) for place, name in enumerate(found)}
    for name, of in found.items():
        errors = [100 * error for error in of.errors]
        made.add_scatter(
            x=[*errors, *reversed(errors)],
            y=[*(100 * of.high).tolist(), *(100 * of.low[::-1]).tolist()],
            fill="toself",
            mode="lines",
            fillcolor=faint(colour(places[name]), 0.13),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
            meta={"run": runs.get(name)},
        )
    for name, of in found.items():
        made.add_scatter(
            x=[100 * error for error in of.errors],
            y=(100 * of.share).tolist(),
            mode="lines",
            line={"color": colour(places[name]), "width": 2, "dash": dash(places[name])},
            name=f"{name} ({of.n})",
            legendgroup=name,
            hovertemplate="%{y:.0f} % at or below %{x:.1f} %",
            meta={"run": runs.get(name)},
        )
    return made


def _rows(comparison: _Comparison, found: Mapping[str, Distribution]) -> list[dict[str, Any]]:
    about = {"comparison": comparison.title, "epoch": comparison.epoch}
    return [
        {**about, "group": name, "trials": of.n, "error": error, "share": share, "low": low, "high": high}
        for name, of in found.items()
        for error, share, low, high in zip(of.errors, of.share, of.low, of.high, strict=True)
    ]


def _epochs(number: int) -> str:
    return f"{number} epoch" + "s" * (number > 1)
