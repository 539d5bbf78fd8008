"""What `python export.py` was told, as a plain object; it makes it from conf/."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from searchers.config import folder_name
from seqconv import validation

BEST, PARETO = "best", "pareto"
COSTS = ("params", "macs", "serial_depth", "activation_bytes")
_SOURCES = ("run", "preset", "architecture")


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """Which model or models to write as folders that stand alone, and with what in them.

    Raises:
        ValueError: a field of the wrong kind, not exactly one of run, preset and architecture, or a field that the one
            given has no use for.
    """

    run: str | None = None
    """Folder of a search or of a promotion."""
    preset: str | None = None
    """Name of an architecture of this project, to be exported untrained."""
    architecture: str | None = None
    """File with an architecture, to be exported untrained."""
    trial: str | int = BEST
    """best, pareto (of a search; a folder for each), the number of a trial, or the name of a promotion's candidate."""
    cost: str = COSTS[0]
    """What pareto weighs the validation error against."""
    stage: str | None = None
    """Stage of a promotion; None is the last that has a result."""
    classes: int | None = None
    """Logits of a preset or an architecture; None is those of its family's data set."""
    resolution: int | None = None
    """Image side in pixels for a preset or an architecture; None is that of its family's data set."""
    out: str = "exported"
    """Folder to write; must not exist, or be empty."""
    onnx: bool = True
    """Whether to write model.onnx."""
    program: bool = False
    """Whether to write model.pt2, a program of torch.export."""
    latency: bool = True
    """Whether to measure the time for batches of 1 and 64 images on the device at hand."""
    compiled: bool = False
    """Whether to measure it by torch.compile too."""

    def __post_init__(self) -> None:
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            what = f"both {' and '.join(given)}" if given else "none of them"
            raise ValueError(f"pass one of run=runs/NAME, preset=NAME and architecture=FILE.yaml, got {what}")
        for name in ("run", "out"):
            if getattr(self, name) is not None:
                folder_name(name, getattr(self, name))
        file: Any = self.architecture
        if file is not None and not (isinstance(file, str) and file):
            raise ValueError(f"architecture must be the path of a YAML file, got {file!r}")
        for name in ("onnx", "program", "latency", "compiled"):
            validation.boolean(name, getattr(self, name))
        validation.one_of("cost", self.cost, COSTS)
        if not isinstance(self.trial, str) or not self.trial:
            try:
                validation.integer("trial", self.trial, low=0)
            except ValueError:
                raise ValueError(f"trial must be {_TRIALS}, got {self.trial!r}") from None
        self._check_use()

    def _check_use(self) -> None:
        if self.compiled and not self.latency:
            raise ValueError("compiled=true measures latency: it needs latency=true")
        for name in ("classes", "resolution"):
            if getattr(self, name) is not None:
                validation.integer(name, getattr(self, name))
                if self.run is not None:
                    raise ValueError(f"{name} is what the data of the run has: leave it out with run=")
        if self.run is None and (self.trial != BEST or self.stage is not None):
            raise ValueError("trial and stage choose from a run: they need run=")


_TRIALS = "best, pareto, the number of a trial, or the name of a promotion's candidate"
