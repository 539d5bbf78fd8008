"""Which reads carry weight: the weights' figure of the paper, of the best architecture."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from reporting.data import frame
from reporting.runs import Run, Trial
from reporting.section import Figure, Note, Panel, Section
from reporting.style import SCALE, TEMPLATE
from searchers.record import best_first
from searchers.run_folder import trial_folder
from seqconv import Architecture

WEIGHTS_FILE = "model.pt"
_TEXT = (
    "A panel is a layer, a row one of its steps, a column a group: the input's up to 0, then the outputs of earlier "
    "steps. Dark is the largest mean absolute weight of the layer, grey is not read. A window could do without groups "
    "that little weight falls on."
)
_COLUMNS, _WIDTH, _HEIGHT, _UNREAD = 4, 250, 170, "#e4e6ea"
Utilisation = list[list[float | None]]


def section(runs: Sequence[Run]) -> Section:
    """The best trial of each run whose weights were kept."""
    panels, rows, notes = [], [], []
    for run in runs:
        kept = _kept(run)
        if kept is None:
            notes.append(Note(text="no weights were kept", run=run.index))
            continue
        trial, architecture = kept
        try:
            layers = _utilisations(run, trial, architecture)
        except Exception as error:  # what torch raises depends on what the file holds instead
            text = f"trials/{trial.record.number:04d}/{WEIGHTS_FILE} cannot be read: {_short(error)}"
            notes.append(Note(text=text, run=run.index))
            continue
        title = f"trial {trial.record.number}: {architecture.describe()}"
        lines = math.ceil(len(layers) / _COLUMNS)
        panels.append(
            Panel(
                name=f"weights-{run.index}" if len(runs) > 1 else "weights",
                title=f"{run.name}, {title}" if len(runs) > 1 else title,
                run=run.index,
                figure=_figure(layers),
                height=60 + _HEIGHT * lines,
                min_width=_WIDTH * min(_COLUMNS, len(layers)),
                wide=True,
            )
        )
        rows += _rows(run, trial, layers)
    empty = "" if panels else "there are no weights to look at"
    return Section(name="weights", title="Which reads carry weight", text=_TEXT, notes=notes, empty=empty,
                   panels=panels, data=frame(rows))  # fmt: skip


def _kept(run: Run) -> tuple[Trial, Architecture] | None:
    """The best trial with weights; the search keeps those of its best that were trained to the end."""
    trials = {trial.record.number: trial for trial in run.trials}
    for record in best_first(run.records):
        architecture = trials[record.number].architecture
        if architecture is not None and (trial_folder(run.path, record.number) / WEIGHTS_FILE).is_file():
            return trials[record.number], architecture
    return None


def _utilisations(run: Run, trial: Trial, architecture: Architecture) -> dict[str, Utilisation]:
    import torch

    from seqconv import build
    from seqconv.narrowing import narrowed
    from seqconv.serialization import read_weights
    from seqconv.utilisation import CLASSIFIER_WEIGHT, utilisations

    architecture = narrowed(architecture, run.description.get("trial", {}).get("width"))
    state = read_weights(trial_folder(run.path, trial.record.number) / WEIGHTS_FILE)
    with torch.device("meta"):
        model = build(architecture, classes=len(state[CLASSIFIER_WEIGHT]))
    model.load_state_dict(state, assign=True)
    return {
        name: [[None if math.isnan(value) else round(value, 3) for value in row] for row in layer.tolist()]
        for name, layer in utilisations(model).items()
    }


def _figure(layers: Mapping[str, Utilisation]) -> Figure:
    from plotly.subplots import make_subplots

    columns = min(_COLUMNS, len(layers))
    made = make_subplots(
        rows=math.ceil(len(layers) / columns),
        cols=columns,
        subplot_titles=list(layers),
        horizontal_spacing=0.045,
        vertical_spacing=0.3 / math.ceil(len(layers) / columns),
    )
    for place, (name, rows) in enumerate(layers.items()):
        line, column = divmod(place, columns)
        oldest = 1 - (len(rows[0]) - len(rows))
        where = {"row": line + 1, "col": column + 1}
        made.add_heatmap(
            z=rows,
            x=list(range(oldest, len(rows) + 1)),
            y=list(range(1, len(rows) + 1)),
            coloraxis="coloraxis",
            hovertemplate="step %{y} reads group %{x}: %{z}<extra>" + name + "</extra>",
            **where,
        )
        made.add_vline(x=0.5, line={"color": "#22272e", "width": 1}, **where)
        made.update_yaxes(tick0=1, dtick=math.ceil(len(rows) / 4), **where)
        made.update_xaxes(tick0=0, dtick=math.ceil(len(rows[0]) / 8), **where)
    made.update_layout(
        template=TEMPLATE,
        plot_bgcolor=_UNREAD,
        margin={"l": 30, "r": 10, "t": 34, "b": 24},
        coloraxis={"colorscale": SCALE, "reversescale": True, "cmin": 0, "cmax": 1,
                   "colorbar": {"thickness": 10, "title": {"text": ""}, "len": min(1.0, 260 / (60 + _HEIGHT))}},
    )  # fmt: skip
    made.update_yaxes(autorange="reversed", showgrid=False)
    made.update_xaxes(showgrid=False, zeroline=False)
    made.update_annotations(font={"size": 12})
    return made


def _rows(run: Run, trial: Trial, layers: Mapping[str, Utilisation]) -> list[dict[str, Any]]:
    about = {"run": run.name, "trial": trial.record.number}
    return [
        about | {"layer": name, "step": step, "source": source, "utilisation": value}
        for name, rows in layers.items()
        for step, row in enumerate(rows, start=1)
        for source, value in enumerate(row, start=1 - (len(row) - len(rows)))
        if value is not None
    ]


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return textwrap.shorten(lines[0], 200) if lines else type(error).__name__
