"""What a report is to be of, as configuration: `report.py` makes it from conf/report.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchers.config import folder_name
from seqconv import validation

HTML = "html"
IMAGES = ("png", "svg")
FORMATS = (HTML, *IMAGES)


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """Everything that `python report.py` was told.

    Raises:
        ValueError: a field of the wrong kind or out of range, naming it.
    """

    run: str | Sequence[str]
    """Folder of a search, or of several."""
    format: str = HTML
    """html: one page; png, svg: an image of each of its figures."""
    out: str | None = None
    """Page to write, which names the folder of data and images too; null is report.html in the folder of one run, and
    reports/NAMES.html for several."""
    top: int = 20
    """Best architectures to list of each run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", _folder_names(self.run))
        validation.one_of("format", self.format, FORMATS)
        if self.out is not None:
            _page("out", self.out)
        validation.integer("top", self.top)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders, each once."""
        return tuple(dict.fromkeys(Path(run).expanduser() for run in _folder_names(self.run)))


def _folder_names(value: Any) -> tuple[str, ...]:
    runs = [value] if isinstance(value, str) else value
    if not isinstance(runs, (list, tuple)) or not runs:
        raise ValueError(f"run must be the folder of a search, or several as run=A run=B, got {value!r}")
    return tuple(folder_name("run", run) for run in runs)


def _page(name: str, value: Any) -> None:
    if not isinstance(value, str) or Path(value).suffix != ".html":
        raise ValueError(f"{name} must be the page to write, such as comparison.html, got {value!r}")


def one_list(arguments: Sequence[str]) -> list[str]:
    """The arguments with `run=a run=b` as `run=[a,b]`: a key is composed once."""
    given = [argument.removeprefix("run=") for argument in arguments if argument.startswith("run=")]
    if len(given) < 2:
        return list(arguments)
    inner = [run[1:-1] if run.startswith("[") and run.endswith("]") else run for run in given]
    others = [argument for argument in arguments if not argument.startswith("run=")]
    return [*others, f"run=[{','.join(filter(None, inner))}]"]
